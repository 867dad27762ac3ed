#include "worker/backend/shm/shared_memory_probe.h"

#include "shared/base/deadline.h"
#include "worker/backend/shm/region_calls.h"

namespace inferpool::backend {

absl::Status SharedMemoryProbe::Ask(const std::stop_token& stop) {
  constexpr std::size_t kPage = 4096;
  if (arena_ == nullptr) {
    ASSIGN_OR_RETURN(arena_, Arena::Create(domain_, kPage));
  }
  absl::Status answer = RegisterRegion(server_, arena_->name(), arena_->size(),
                                       Deadline::After(kLongestRegistration), stop);
  absl::Status last = answer;
  if (answer.ok() || absl::IsAlreadyExists(answer)) {
    answer = absl::OkStatus();
    last = UnregisterRegion(server_, arena_->name(), Deadline::After(kLongestRegistration), stop);
  }
  // After a missed deadline the server may know the segment, which is asked about once more.
  if (!absl::IsDeadlineExceeded(last)) arena_.reset();
  return answer;
}

}  // namespace inferpool::backend
