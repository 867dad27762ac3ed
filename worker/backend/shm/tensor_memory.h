// Where the inputs of a worker's calls lie: in shared memory where there is room, else on the heap.
#pragma once

#include <cstddef>
#include <string>

#include "worker/backend/shm/arena.h"
#include "worker/backend/shm/arena_pool.h"
#include "worker/backend/shm/shared_regions.h"

namespace inferpool::backend {

// Thread safe.
class TensorMemory {
 public:
  // `message_bytes`: the largest gRPC message. The others: as in arena_pool.h.
  TensorMemory(Transport transport, std::string domain, std::size_t arena_bytes,
               std::size_t message_bytes);

  // Memory for `rows` rows, which is at least one, of `row_bytes` each; or for half as many, a
  // quarter and so on, if there is not so much. Returns an empty lease when not even one row fits.
  // Only a single row goes to the heap for want of shared memory: few rows there are better than
  // many elsewhere.
  Lease AllocateRows(std::size_t row_bytes, int rows);

  // As ArenaPool::Close.
  void Close() { arenas_.Close(); }

 private:
  Lease Allocate(std::size_t bytes, bool single_row);

  const Transport transport_;
  const std::size_t message_bytes_;
  ArenaPool arenas_;
};

}  // namespace inferpool::backend
