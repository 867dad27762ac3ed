#include "ops/live/http_server.h"

#include <microhttpd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "shared/base/ascii.h"
#include "shared/base/deadline.h"

namespace inferpool::live {
namespace {

constexpr unsigned int kConnectionTimeoutSeconds = 30;  // twice an event stream's heartbeat
constexpr std::chrono::seconds kPatienceAtTheEnd{2};
constexpr std::chrono::milliseconds kLookAtTheEnd{10};
constexpr std::size_t kThreadStack = std::size_t{512} << 10;
constexpr std::size_t kBlock = std::size_t{16} << 10;

// A request while it is read and answered.
struct Pending {
  fcgi::Request request;
  bool has_begun = false;

  // Of a reply that is a stream.
  std::unique_ptr<EventStream> stream;
  int client = -1;
  std::string text;
  std::size_t sent = 0;  // of `text`
};

MHD_Result TakeHeader(void* headers, MHD_ValueKind /*kind*/, const char* name, const char* value) {
  static_cast<decltype(fcgi::Request::headers)*>(headers)->emplace_back(
      LowerCase(name), value == nullptr ? "" : Trim(value));
  return MHD_YES;
}

ssize_t ReadStream(void* state, std::uint64_t /*position*/, char* buffer, std::size_t most) {
  auto& pending = *static_cast<Pending*>(state);
  try {
    while (pending.sent == pending.text.size()) {
      std::optional<std::string> next = pending.stream->Next(pending.client);
      if (!next) return MHD_CONTENT_READER_END_OF_STREAM;
      pending.text = *std::move(next);
      pending.sent = 0;
    }
  } catch (const std::exception&) {  // out of memory
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  const std::size_t size = std::min(most, pending.text.size() - pending.sent);
  pending.text.copy(buffer, size, pending.sent);
  pending.sent += size;
  return static_cast<ssize_t>(size);
}

MHD_Result Send(MHD_Connection* connection, Pending& pending, Reply reply) {
  fcgi::Response& answer = reply.response;
  MHD_Response* response = nullptr;
  if (reply.stream != nullptr) {
    pending.stream = std::move(reply.stream);
    pending.client =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    // `pending` lives until the connection has done with the response.
    response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kBlock, &ReadStream, &pending, nullptr);
  } else {
    response = MHD_create_response_from_buffer(answer.body.size(), answer.body.data(),
                                               MHD_RESPMEM_MUST_COPY);
  }
  if (response == nullptr) return MHD_NO;
  for (const auto& [name, value] : answer.headers) {
    MHD_add_response_header(response, name.c_str(), value.c_str());
  }
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  const MHD_Result queued =
      MHD_queue_response(connection, static_cast<unsigned int>(answer.status), response);
  MHD_destroy_response(response);
  return queued;
}

// The target as it came: what the library hands on later is decoded.
void* Begin(void* /*unused*/, const char* target, MHD_Connection* /*connection*/) {
  try {
    auto pending = std::make_unique<Pending>();
    const std::string_view text = target;
    const std::size_t mark = text.find('?');
    pending->request.path = text.substr(0, mark);
    if (mark != std::string_view::npos) pending->request.query = text.substr(mark + 1);
    return pending.release();
  } catch (const std::exception&) {
    return nullptr;
  }
}

void End(void* /*unused*/, MHD_Connection* /*connection*/, void** state,
         MHD_RequestTerminationCode /*why*/) {
  delete static_cast<Pending*>(*state);
  *state = nullptr;
}

MHD_Result Handle(void* handler, MHD_Connection* connection, const char* /*url*/,
                  const char* method, const char* /*version*/, const char* /*upload*/,
                  std::size_t* upload_size, void** state) {
  auto* pending = static_cast<Pending*>(*state);
  if (pending == nullptr) return MHD_NO;
  // The first call comes before a body, the last one after it. Only the last one may answer.
  if (!std::exchange(pending->has_begun, true)) return MHD_YES;
  if (*upload_size > 0) {
    *upload_size = 0;
    return MHD_YES;
  }
  try {
    pending->request.method = method;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &TakeHeader, &pending->request.headers);
    return Send(connection, *pending,
                (*static_cast<const HttpServer::Handler*>(handler))(pending->request));
  } catch (const std::exception&) {
    return MHD_NO;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(int listener,
                                                              unsigned int max_connections,
                                                              Handler handler) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handler)));
  server->daemon_ = MHD_start_daemon(
      MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC,
      0, nullptr, nullptr, &Handle, const_cast<Handler*>(&server->handler_),
      MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, max_connections,
      MHD_OPTION_CONNECTION_TIMEOUT, kConnectionTimeoutSeconds, MHD_OPTION_THREAD_STACK_SIZE,
      kThreadStack, MHD_OPTION_URI_LOG_CALLBACK, &Begin, nullptr, MHD_OPTION_NOTIFY_COMPLETED, &End,
      nullptr, MHD_OPTION_END);
  if (server->daemon_ == nullptr) return absl::UnavailableError("the HTTP server cannot start");
  return server;
}

HttpServer::~HttpServer() {
  if (daemon_ == nullptr) return;
  MHD_quiesce_daemon(daemon_);
  const auto deadline = Deadline::After(kPatienceAtTheEnd);
  while (MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections > 0 &&
         !deadline.Expired(Clock::now())) {
    std::this_thread::sleep_for(kLookAtTheEnd);
  }
  MHD_stop_daemon(daemon_);
}

}  // namespace inferpool::live
