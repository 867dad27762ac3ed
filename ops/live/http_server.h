// The HTTP side of the process, for nginx, by libmicrohttpd.
//
// Each connection has a thread, of which there are at most as many as connections: an answer may
// wait for Redis or for the next event where it stands, and one that does keeps no other waiting.
// The other way, connections that are suspended and resumed, would need a second watch of them all,
// as the library does not look whether a suspended one has been closed.
#pragma once

#include <functional>
#include <memory>

#include "fcgi/wire/request.h"
#include "ops/live/api.h"
#include "shared/base/status.h"

struct MHD_Daemon;

namespace inferpool::live {

// A connection carries one request. Bodies are read and dropped. HEAD has the head alone.
// Connections beyond `max_connections` are closed at once, and so is one on which nothing can be
// sent or read for half a minute.
class HttpServer {
 public:
  // Called on the connection's thread. An exception closes the connection.
  using Handler = std::function<Reply(const fcgi::Request&)>;

  // Does not take `listener`, which must be open for as long as the server exists.
  // UNAVAILABLE: the threads cannot be had.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(int listener,
                                                           unsigned int max_connections,
                                                           Handler handler);

  // Accepts no more, gives those who are connected two seconds, and closes what is left. Streams
  // must have been ended before.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

 private:
  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {}

  const Handler handler_;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace inferpool::live
