// The number of connections that wait in the kernel for a worker: the pool's only queue.
#pragma once

#include <cstdint>
#include <optional>

namespace inferpool::ops {

struct ListenQueue {
  std::uint32_t waiting;
  std::uint32_t max;  // listen.backlog, or the kernel's own limit
};

// Asks the kernel (sock_diag(7)) for the listening unix socket with this inode. nullopt: there is
// no such socket in our network namespace.
std::optional<ListenQueue> ReadListenQueue(std::uint64_t inode);

}  // namespace inferpool::ops
