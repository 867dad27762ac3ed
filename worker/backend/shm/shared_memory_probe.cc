#include "worker/backend/shm/shared_memory_probe.h"

#include "worker/backend/shm/region_calls.h"

namespace inferpool::backend {

absl::Status SharedMemoryProbe::Ask(Deadline deadline) {
  constexpr std::size_t kPage = 4096;
  if (arena_ == nullptr) {
    ASSIGN_OR_RETURN(arena_, Arena::Create(domain_, kPage));
  }
  absl::Status answer = RegisterRegion(server_, arena_->name(), arena_->size(), deadline);
  if (answer.ok() || absl::IsAlreadyExists(answer)) {
    answer = UnregisterRegion(server_, arena_->name(), deadline);
  }
  // After a missed deadline the server may know the segment, which is asked about once more.
  if (!absl::IsDeadlineExceeded(answer)) arena_.reset();
  return answer;
}

}  // namespace inferpool::backend
