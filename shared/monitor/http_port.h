// A small HTTP port for probes and scrapers, by libmicrohttpd.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"

struct MHD_Daemon;

namespace inferpool::monitor {

struct HttpAnswer {
  int status = 200;
  std::string body;
  const char* content_type = "application/json";  // must outlive the port
};

// Answers GET and HEAD on a listening socket, on one thread of its own. Other methods are answered
// with 405; bodies of requests are read and dropped. No answer may be kept by caches; one with 503
// says that the client may ask again after a second. A connection carries one request, so that none
// is closed just when its client is about to use it again. Idle connections are closed after 10 s,
// and connections beyond `max_connections` at once.
class HttpPort {
 public:
  // Makes the answer to `path`. Called on the port's thread. An exception closes the connection.
  using Handler = std::function<HttpAnswer(std::string_view path)>;

  // Does not take `listener`, which must be open for as long as the port exists.
  // Error: UNAVAILABLE when the thread or its resources cannot be had.
  static absl::StatusOr<std::unique_ptr<HttpPort>> Start(int listener, unsigned int max_connections,
                                                         Handler handler);

  // Accepts no more, answers whoever is connected, and stops the thread; clients that have not sent
  // their request after two seconds are let go. The socket stays open and goes on listening for
  // whoever shares it.
  ~HttpPort();
  HttpPort(const HttpPort&) = delete;
  HttpPort& operator=(const HttpPort&) = delete;

 private:
  explicit HttpPort(Handler handler) : handler_(std::move(handler)) {}

  // The thread's: serves until `stop_` is readable, then whoever is still connected.
  void Serve();

  const Handler handler_;
  MHD_Daemon* daemon_ = nullptr;
  FileDescriptor stop_;  // an eventfd
  std::thread thread_;
};

}  // namespace inferpool::monitor
