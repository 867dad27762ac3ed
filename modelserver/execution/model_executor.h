// The interface behind which a model runs its checked requests: instances with a queue
// (scheduler.h), or an ensemble's other models (ensemble.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>

#include "modelserver/execution/outputs.h"
#include "proto/tensor.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// A request of at most so many bytes is parsed and copied within some tens of microseconds.
inline constexpr std::size_t kSmallRequest = std::size_t{16} << 10;

// What a request brings along besides its tensors.
struct InferContext {
  Deadline deadline;
  // Stops when the client no longer waits for the answer.
  std::stop_token gone;
  // Asked before the request blocks, or computes for longer than it takes to copy a small request.
  // When it returns false, the request fails with RESOURCE_EXHAUSTED. Empty: it always may.
  std::function<bool()> can_block = {};
  // The request's own parameters, 0 when it has none. They count where the model's queue policy
  // says so.
  std::uint64_t priority = 0;
  std::chrono::microseconds timeout{0};
  // The size of the request's message, which the server keeps until the answer.
  std::size_t bytes = 0;
};

// Where the time of one request went, for the statistics.
struct RunTimes {
  Clock::duration queue{};
  Clock::duration compute_input{};
  Clock::duration compute_infer{};
  Clock::duration compute_output{};
};

class ModelExecutor {
 public:
  virtual ~ModelExecutor() = default;

  // Runs one request and puts all outputs that `outputs` wants, or returns why it could not.
  // `inputs` are as in Execution (engine.h); `times` gets the times of a successful run. Thread
  // safe.
  virtual absl::Status Run(std::span<const TensorView> inputs, Outputs& outputs,
                           const InferContext& context, RunTimes& times) = 0;

  // The number of requests that wait to run.
  virtual std::size_t pending() const { return 0; }
};

}  // namespace inferpool::modelserver
