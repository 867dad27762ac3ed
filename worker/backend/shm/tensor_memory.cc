#include "worker/backend/shm/tensor_memory.h"

#include <utility>

#include "shared/base/deadline.h"

namespace inferpool::backend {

TensorMemory::TensorMemory(Transport transport, std::string domain, std::size_t arena_bytes,
                           std::size_t message_bytes)
    : transport_(transport),
      message_bytes_(message_bytes),
      arenas_(std::move(domain), arena_bytes) {}

Lease TensorMemory::AllocateRows(std::size_t row_bytes, int rows) {
  for (; rows > 0; rows /= 2) {
    std::size_t bytes = 0;
    if (__builtin_mul_overflow(row_bytes, static_cast<std::size_t>(rows), &bytes)) continue;
    if (Lease lease = Allocate(bytes, rows == 1)) return lease;
  }
  return {};
}

Lease TensorMemory::Allocate(std::size_t bytes, bool single_row) {
  constexpr std::size_t kBesidesTensor = 64 << 10;
  // A batch larger than a gRPC message can go only by shared memory, which a server on another host
  // cannot open.
  if (!single_row && transport_ != Transport::kShm && bytes + kBesidesTensor > message_bytes_) {
    return {};
  }
  if (transport_ == Transport::kInline) return Lease::OnHeap(bytes);
  Lease lease = arenas_.Allocate(bytes, Clock::now());
  if (lease || !single_row || transport_ == Transport::kShm) return lease;
  return Lease::OnHeap(bytes);
}

}  // namespace inferpool::backend
