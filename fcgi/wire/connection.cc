#include "fcgi/wire/connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <span>
#include <string>

#include "fcgi/wire/preamble.h"
#include "shared/base/ascii.h"
#include "shared/base/http_status.h"
#include "shared/base/status.h"

namespace inferpool::fcgi {
namespace {

// The first peek holds nginx's usual parameters. The largest one holds the maximum plus padding and
// record headers.
constexpr std::size_t kFirstPeek = std::size_t{8} * 1024;
constexpr std::size_t kMaxPeek = 2 * kMaxParameterBytes;
// What is read and thrown away at a time.
constexpr std::size_t kScrapBytes = std::size_t{16} * 1024;

void SetTimeout(int fd, int option, std::chrono::seconds time) {
  const timeval value{.tv_sec = time.count(), .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value));
}

// From `handed_off` (seconds since the epoch, as nginx's $msec writes them) to `accepted`.
std::chrono::microseconds Between(std::string_view handed_off,
                                  std::chrono::system_clock::time_point accepted) {
  double seconds = 0;
  const auto [end, error] =
      std::from_chars(handed_off.data(), handed_off.data() + handed_off.size(), seconds);
  if (error != std::errc() || !std::isfinite(seconds)) return std::chrono::microseconds(0);
  const double until = std::chrono::duration<double>(accepted.time_since_epoch()).count();
  const double waited = std::clamp(until - seconds, 0.0, 3600.0);
  return std::chrono::microseconds(std::llround(waited * 1e6));
}

// The peer has closed its end: nginx does when its client leaves.
bool HasClosed(int socket) {
  pollfd event{.fd = socket, .events = POLLRDHUP, .revents = 0};
  return poll(&event, 1, 0) > 0 && (event.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace

void InitLibrary() {
  // libfcgi waits up to 2 s for a mute peer at the start and for a slow one at the end. We accept
  // connections ourselves, and an answer that was written to a unix socket stays readable when we
  // close it: a thread that waited for nginx to close first would be lost to the next request.
  setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "0", /*overwrite=*/0);  // NOLINT(concurrency-mt-unsafe)
  FCGX_Init();
}

Connection::Connection(FileDescriptor socket, const ReadLimits& limits) : limits_(limits) {
  SetTimeout(socket.get(), SO_RCVTIMEO, limits.io);
  SetTimeout(socket.get(), SO_SNDTIMEO, limits.io);
  // With a connection already open and marked as kept, FCGX_Accept_r reads a request from it
  // instead of accepting; with no listening socket it then fails at once when that one is bad.
  FCGX_InitRequest(&fcgx_, /*sock=*/-1, /*flags=*/0);
  fcgx_.ipcFd = socket.Release();
  fcgx_.keepConnection = 1;
}

Connection::~Connection() {
  if (broken_) {
    FCGX_Free(&fcgx_, /*close=*/1);  // unlike FCGX_Finish_r it writes nothing
  } else {
    fcgx_.keepConnection = 0;
    if (unread_) Linger();
    FCGX_Finish_r(&fcgx_);
  }
}

// A peer that still sends would lose the answer if we closed now: it gets the whole of it, and a
// moment to take it.
void Connection::Linger() {
  constexpr std::chrono::milliseconds kPatience{200};
  FCGX_FClose(fcgx_.err);
  FCGX_FClose(fcgx_.out);
  shutdown(fcgx_.ipcFd, SHUT_WR);
  const Deadline deadline = Deadline::After(kPatience);
  std::array<char, kScrapBytes> scrap{};
  pollfd event{.fd = fcgx_.ipcFd, .events = POLLIN, .revents = 0};
  while (!deadline.Expired(Clock::now()) &&
         poll(&event, 1, static_cast<int>(kPatience.count())) > 0 &&
         recv(fcgx_.ipcFd, scrap.data(), scrap.size(), MSG_DONTWAIT) > 0) {
  }
}

// Waits until everything before the body is there, and well formed, without taking it.
bool Connection::AwaitPreamble() const {
  const Deadline deadline = Deadline::After(limits_.io);
  std::string look(kFirstPeek, '\0');
  while (true) {
    const ssize_t got = recv(fcgx_.ipcFd, look.data(), look.size(), MSG_PEEK);
    if (got <= 0) return false;
    const auto bytes = static_cast<std::size_t>(got);
    const Preamble preamble = ValidatePreamble(std::string_view(look).substr(0, bytes));
    if (preamble != Preamble::kIncomplete) return preamble == Preamble::kGood;
    if (bytes == look.size()) {
      if (look.size() >= kMaxPeek) return false;
      look.resize(look.size() * 4);
      continue;
    }
    // More has to come, but poll would report what we have already seen: so a short pause, which
    // the peer's end ends.
    pollfd end{.fd = fcgx_.ipcFd, .events = POLLRDHUP, .revents = 0};
    if (poll(&end, 1, 1) > 0 || deadline.Expired(Clock::now())) return false;
  }
}

// HTTP_X_REQUEST_ID=abc is the header x-request-id.
void Connection::ReadHeaders(Request& request) const {
  constexpr std::string_view kPrefix = "HTTP_";
  for (char** parameter = fcgx_.envp; *parameter != nullptr; ++parameter) {
    std::string_view text = *parameter;
    if (!text.starts_with(kPrefix)) continue;
    text.remove_prefix(kPrefix.size());
    const std::size_t equals = std::min(text.find('='), text.size());
    std::string name(text.substr(0, equals));
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      if (c == '_') c = '-';
    }
    // Blanks around a value are no part of it (RFC 9110, section 5.5); HTTP/2's come with them.
    const std::string_view value = text.substr(std::min(equals + 1, text.size()));
    request.headers.emplace_back(std::move(name), Trim(value));
  }
}

const char* Connection::Parameter(const char* name) const {
  const char* value = FCGX_GetParam(name, fcgx_.envp);
  return value == nullptr ? "" : value;
}

absl::StatusOr<Request> Connection::ReadHead() {
  const TimePoint accepted = Clock::now();
  const auto accepted_wall = std::chrono::system_clock::now();
  if (HasClosed(fcgx_.ipcFd)) {
    broken_ = true;
    return absl::CancelledError("the client left while the request waited");
  }
  if (!AwaitPreamble() || FCGX_Accept_r(&fcgx_) != 0) {
    broken_ = true;
    return absl::UnavailableError("no FastCGI request came");
  }
  Request request;
  request.accepted = accepted;
  request.queue = Between(Parameter("INFERPOOL_HANDED_OFF"), accepted_wall);
  request.method = Parameter("REQUEST_METHOD");
  const std::string_view uri = Parameter("REQUEST_URI");
  const std::size_t question = uri.find('?');
  request.path = uri.substr(0, question);
  if (question != std::string_view::npos) request.query = uri.substr(question + 1);
  request.content_type = Parameter("CONTENT_TYPE");
  request.client = Parameter("REMOTE_ADDR");
  ReadHeaders(request);
  // A request that is sent again, because its worker died, has not waited for a thread all the
  // time.
  request.again = !std::string_view(Parameter("INFERPOOL_RETRY")).empty();
  if (limits_.queue.count() > 0 && request.queue > limits_.queue && !request.again) {
    request.body_status = absl::ResourceExhaustedError(
        fmt::format("the request waited {} ms for a worker, allowed are {}",
                    std::chrono::duration_cast<std::chrono::milliseconds>(request.queue).count(),
                    limits_.queue.count()));
  }
  return request;
}

absl::StatusOr<std::size_t> Connection::BodyLength() const {
  const std::string_view length = Parameter("CONTENT_LENGTH");
  if (length.empty()) {
    return absl::FailedPreconditionError("the request names no Content-Length");
  }
  std::size_t bytes = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bytes);
  if (error == std::errc::invalid_argument || end != length.data() + length.size()) {
    return InvalidArgument("Content-Length is not a number");
  }
  if (error == std::errc::result_out_of_range || bytes > limits_.body_bytes) {
    return absl::OutOfRangeError(
        fmt::format("the body has {} bytes, allowed are {}", length, limits_.body_bytes));
  }
  return bytes;
}

std::size_t Connection::BodyBytes(const Request& request) const {
  return request.body_status.ok() ? BodyLength().value_or(0) : 0;
}

void Connection::ReadBody(Request& request, const absl::Status& admitted) {
  const absl::StatusOr<std::size_t> length = BodyLength();
  if (request.body_status.ok()) request.body_status = length.status();
  if (request.body_status.ok()) request.body_status = admitted;
  if (request.body_status.ok()) {
    KeepBody(request, *length);
  } else if (length.ok()) {
    Discard(*length, request.accepted);
  } else {
    unread_ = absl::IsOutOfRange(length.status());
  }
  request.read =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - request.accepted);
}

void Connection::KeepBody(Request& request, std::size_t bytes) {
  request.body_bytes = std::make_unique_for_overwrite<char[]>(bytes);
  const Deadline deadline(request.accepted + limits_.whole);
  std::size_t got = 0;
  while (got < bytes && !deadline.Expired(Clock::now())) {
    const std::size_t count = ReadSome(request.body_bytes.get() + got, bytes - got);
    if (count == 0) break;
    got += count;
  }
  if (got < bytes) {
    request.body_bytes.reset();
    request.body_status =
        absl::DataLossError(fmt::format("the body ended after {} of {} bytes", got, bytes));
    return;
  }
  request.body = {request.body_bytes.get(), bytes};
}

// Reads the body of a request that is refused: a client that still sends when we close would not
// see why.
void Connection::Discard(std::size_t bytes, TimePoint accepted) {
  const Deadline deadline(accepted + limits_.whole);
  std::array<char, kScrapBytes> scrap{};
  while (bytes > 0 && !deadline.Expired(Clock::now())) {
    const std::size_t count = ReadSome(scrap.data(), std::min(bytes, scrap.size()));
    if (count == 0) break;
    bytes -= count;
  }
}

// What one read() brings, so that the deadline is looked at in between: a byte, which fills
// libfcgi's buffer, and the rest of that. 0: there is no more.
std::size_t Connection::ReadSome(char* to, std::size_t max) {
  const int byte = FCGX_GetChar(fcgx_.in);
  if (byte < 0) return 0;
  *to = static_cast<char>(byte);
  const auto buffered = static_cast<std::size_t>(fcgx_.in->stop - fcgx_.in->rdNext);
  const std::size_t rest = std::min(buffered, max - 1);
  std::copy_n(fcgx_.in->rdNext, rest, to + 1);
  fcgx_.in->rdNext += rest;
  return rest + 1;
}

bool Connection::Write(const Response& response) {
  // nginx makes its status line of it, and one without a reason lacks the blank that RFC 9112
  // wants.
  std::string head = fmt::format("Status: {} {}\r\n", response.status,
                                 kHttpStatuses[HttpStatusIndex(response.status)].reason);
  for (const auto& [name, value] : response.headers) {
    fmt::format_to(std::back_inserter(head), "{}: {}\r\n", name, value);
  }
  fmt::format_to(std::back_inserter(head), "Content-Length: {}\r\n\r\n", response.body.size());
  for (const std::string_view part : {std::string_view(head), std::string_view(response.body)}) {
    if (FCGX_PutStr(part.data(), static_cast<int>(part.size()), fcgx_.out) < 0) {
      broken_ = true;
      return false;
    }
  }
  broken_ = FCGX_FFlush(fcgx_.out) != 0;
  return !broken_;
}

}  // namespace inferpool::fcgi
