// Notices that the client of a request in work has disconnected. nginx then closes its connection
// to us, which a thread that waits for a model would not see. One thread per process watches all
// connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "shared/base/file_descriptor.h"
#include "shared/base/mutex.h"

namespace inferpool::fcgi {

class DepartureWatch {
 public:
  // Makes room for one connection per thread slot.
  explicit DepartureWatch(std::size_t thread_slots);
  ~DepartureWatch();
  DepartureWatch(const DepartureWatch&) = delete;
  DepartureWatch& operator=(const DepartureWatch&) = delete;

  // Watches `socket`. The token is stopped when the other end closes; its callbacks run in the
  // watching thread. Call End before the socket is closed.
  [[nodiscard]] std::stop_token Begin(std::size_t thread_slot, int socket);
  void End(std::size_t thread_slot, int socket);

 private:
  struct Entry {
    Mutex mutex;
    // Tells this connection from the one before.
    std::uint32_t turn ABSL_GUARDED_BY(mutex) = 0;
    // nullopt: no connection is watched.
    std::optional<std::stop_source> departed ABSL_GUARDED_BY(mutex);
  };

  void Run(const std::stop_token& stop);

  FileDescriptor epoll_;
  FileDescriptor wake_;
  std::vector<Entry> entries_;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace inferpool::fcgi
