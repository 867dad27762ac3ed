#include "worker/backend/shm/shared_memory_probe.h"

#include "worker/backend/shm/region_calls.h"

namespace inferpool::backend {

absl::Status SharedMemoryProbe::Ask(UnaryCalls& server, Deadline deadline) {
  constexpr std::size_t kPage = 4096;
  if (arena_ == nullptr) {
    ASSIGN_OR_RETURN(arena_, Arena::Create(domain_, kPage));
  }
  const absl::Status answer = RegisterRegion(server, arena_->name(), arena_->size(), deadline);
  if (!answer.ok() && !absl::IsAlreadyExists(answer)) return answer;
  return UnregisterRegion(server, arena_->name(), deadline);
}

}  // namespace inferpool::backend
