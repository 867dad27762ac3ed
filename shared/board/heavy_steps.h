// The heavy steps (heavy_work.h) of one request.
#pragma once

#include <condition_variable>
#include <cstdint>

#include "shared/base/mutex.h"
#include "shared/base/patience.h"
#include "shared/board/heavy_work.h"

namespace inferpool {

class HeavySteps;

// A turn at heavy work and the memory that it claims, both given back by the destructor. Empty by
// default, for work that is not heavy.
class HeavyStep {
 public:
  HeavyStep() = default;
  HeavyStep(HeavyStep&& other) noexcept;
  HeavyStep& operator=(HeavyStep&& other) noexcept;
  ~HeavyStep();

  // Gives the processor back, because the heavy part is over, and keeps `bytes` of the memory.
  void Keep(std::uint64_t bytes);

  // Begins another heavy part after Keep. Waits for a processor, and then claims `bytes`, even
  // when that is more than there is: work in progress is not refused. Errors: as HeavyWork::Begin;
  // the step then stays as it was. The step must not be empty.
  absl::Status Resume(std::uint64_t bytes, const Patience& patience);

  // As Keep, but the memory stays claimed until HeavyWork::Leave, and the object becomes empty. For
  // data that lives as long as the request's answer.
  void KeepUntilLeave(std::uint64_t bytes);

  bool empty() const { return steps_ == nullptr; }

 private:
  friend class HeavySteps;
  explicit HeavyStep(HeavySteps& steps) : steps_(&steps), works_(true) {}
  void End();

  HeavySteps* steps_ = nullptr;
  bool works_ = false;  // true from the begin of a heavy part to its Keep
};

// Thread safe. A request has one step at a time: the next one begins when the one before has ended,
// also when that one only keeps its memory. A thread that has a step must not begin another.
class HeavySteps {
 public:
  // `client` comes from HeavyClient. The references must outlive the object.
  HeavySteps(const HeavyWork& work, ThreadSlot& thread_slot, std::uint64_t client)
      : work_(work), thread_slot_(thread_slot), client_(client) {}

  // Call it before the first step.
  void set_client(std::uint64_t client) { client_ = client; }

  // Waits for its turn and begins a step that takes `bytes` of memory. Errors: as HeavyWork::Begin.
  absl::StatusOr<HeavyStep> Begin(std::uint64_t bytes, const Patience& patience);

 private:
  friend class HeavyStep;

  // Waits until the request has no step.
  absl::Status TakeTurn(const Patience& patience);
  void GiveTurn();

  const HeavyWork& work_;
  ThreadSlot& thread_slot_;
  std::uint64_t client_;
  Mutex mutex_;
  std::condition_variable given_;
  // There is a step, or a thread waits for its processor.
  bool taken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace inferpool
