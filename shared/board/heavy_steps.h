// The heavy steps (heavy_work.h) of one request.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "shared/base/patience.h"
#include "shared/board/heavy_work.h"

namespace inferpool {

class HeavySteps;

// A turn at heavy work, and the memory that it claims, until the object's end. Empty by default:
// for what is not heavy.
class HeavyStep {
 public:
  HeavyStep() = default;
  HeavyStep(HeavyStep&& other) noexcept;
  HeavyStep& operator=(HeavyStep&& other) noexcept;
  ~HeavyStep();

  // The heavy part is over: gives the processor back, and keeps `bytes` of the claimed memory.
  void Keep(std::uint64_t bytes);

  // Another heavy part, after Keep: waits for a processor alone, and claims `bytes` from then on,
  // also when that is more than there is: what was begun is not refused. Errors: as
  // HeavyWork::Begin; then the step is as it was.
  absl::Status Resume(std::uint64_t bytes, const Patience& patience);

  // As Keep, but until the request has left (HeavyWork::Leave), whatever becomes of the object,
  // which is empty then: for what lives as long as the request's answer.
  void KeepUntilLeave(std::uint64_t bytes);

  bool empty() const { return steps_ == nullptr; }

 private:
  friend class HeavySteps;
  explicit HeavyStep(HeavySteps& steps) : steps_(&steps), works_(true) {}
  void End();

  HeavySteps* steps_ = nullptr;
  bool works_ = false;  // between the begin and Keep
};

// Thread safe. Of the threads that help with a request one at a time is at a heavy step, and one
// step at a time keeps memory: a step that has called Keep ends before the next begins.
class HeavySteps {
 public:
  // `client`: as HeavyClient makes it. What is passed by reference must outlive it.
  HeavySteps(const HeavyWork& work, Lane& lane, std::uint64_t client)
      : work_(work), lane_(lane), client_(client) {}

  // Before the first step.
  void set_client(std::uint64_t client) { client_ = client; }

  // Begins a step that takes `bytes` of memory. Waits for its turn; errors: as HeavyWork::Begin.
  absl::StatusOr<HeavyStep> Begin(std::uint64_t bytes, const Patience& patience);

 private:
  friend class HeavyStep;

  absl::Status TakeTurn(const Patience& patience);
  void GiveTurn();

  const HeavyWork& work_;
  Lane& lane_;
  std::uint64_t client_;
  std::mutex mutex_;
  std::condition_variable given_;
  bool taken_ = false;  // guarded by mutex_: a thread is at a heavy step, or waits to be
};

}  // namespace inferpool
