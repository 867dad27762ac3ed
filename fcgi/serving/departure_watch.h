// Notices that a request's client has left while the request is in work: nginx then closes its
// connection to us, which a thread that waits for a model would not see. One thread a process
// watches all connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "shared/base/file_descriptor.h"

namespace inferpool::fcgi {

class DepartureWatch {
 public:
  // Room for one connection a lane.
  explicit DepartureWatch(std::size_t lanes);
  ~DepartureWatch();
  DepartureWatch(const DepartureWatch&) = delete;
  DepartureWatch& operator=(const DepartureWatch&) = delete;

  // The token is stopped when the other end of `socket` closes; what it calls back runs in the
  // watching thread. End it before the socket is closed.
  std::stop_token Begin(std::size_t lane, int socket);
  void End(std::size_t lane, int socket);

 private:
  struct Entry {
    std::mutex mutex;
    std::uint32_t turn = 0;                    // guarded; tells this connection from the one before
    std::optional<std::stop_source> departed;  // guarded; none: nothing is watched
  };

  void Run(const std::stop_token& stop);

  FileDescriptor epoll_;
  FileDescriptor wake_;
  std::vector<Entry> entries_;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace inferpool::fcgi
