// What a connection brings: Judge alone, then the whole way through libfcgi.
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <string>
#include <utility>

#include "fcgi/wire/connection.h"
#include "fcgi/wire/preamble.h"
#include "tests/fuzz/check.h"
#include "tests/unit/fcgi/wire/read_request.h"

using namespace inferpool;

namespace {

// What the connection reads of these bytes when no more come.
absl::StatusOr<fcgi::Request> Read(std::string_view bytes) {
  std::array<int, 2> pair{};
  HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  FileDescriptor own(pair[0]);
  FileDescriptor peer(pair[1]);
  HOLDS(send(peer.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  fcgi::Connection connection(std::move(own), {.body_bytes = 4096, .io = std::chrono::seconds(1)});
  const timeval at_once{.tv_sec = 0, .tv_usec = 1};
  setsockopt(connection.socket(), SOL_SOCKET, SO_RCVTIMEO, &at_once, sizeof(at_once));
  auto request = test::ReadRequest(connection);
  if (request.ok()) {
    connection.Write({.status = 200, .headers = {{"A", "b"}}, .body = "body"});
  }
  peer.Reset();  // or the connection would wait for us to take the answer
  return request;
}

}  // namespace

// libfcgi forgets some bytes for each management record of an unknown type
// (ProcessManagementRecord), which nginx never sends.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libfcgi";
}

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
  fcgi::InitLibrary();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = fuzz::Text(data, size);
  const fcgi::Preamble verdict = fcgi::ValidatePreamble(bytes);
  // More bytes do not change a verdict, and fewer never make a bad thing of a good one.
  if (verdict != fcgi::Preamble::kIncomplete) {
    HOLDS(fcgi::ValidatePreamble(std::string(bytes) + "more") == verdict);
  }
  if (verdict != fcgi::Preamble::kBad) {
    HOLDS(fcgi::ValidatePreamble(bytes.substr(0, size / 2)) != fcgi::Preamble::kBad);
  }
  if (verdict != fcgi::Preamble::kGood) return 0;  // it would only be waited for more

  // What is judged to be good is what libfcgi can read.
  const auto request = Read(bytes);
  HOLDS(request.ok());
  HOLDS(request->path.find('?') == std::string::npos);
  std::size_t header_bytes = 0;
  for (const auto& [name, value] : request->headers) header_bytes += name.size() + value.size();
  HOLDS(header_bytes <= fcgi::kMaxParameterBytes);
  if (request->body_status.ok()) {
    HOLDS(request->body.size() <= 4096 && request->body.size() <= size);
    HOLDS(request->body.empty() || request->body.data() == request->body_bytes.get());
  } else {
    HOLDS(request->body.empty() && !request->body_status.message().empty());
  }
  return 0;
}
