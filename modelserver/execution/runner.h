// What answers the checked requests of a model: instances behind a queue (scheduler.h), or other
// models one after the other (ensemble.h).
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

// Requests of no more bytes are read and copied in no time: some tens of microseconds.
inline constexpr std::size_t kSmallRequest = std::size_t{16} << 10;

// Who waits for an answer, and for how long. `gone` stops when it waits no more. `may_wait` is
// asked before a request waits, or computes for longer than it takes to copy a small one; if not,
// it fails with RESOURCE_EXHAUSTED. Without one it may. `priority` and `timeout` are the request's
// own parameters, 0 when it has none; they matter where the model's queue policy says so. `bytes`
// are those of the message, which the server keeps until the answer.
struct Caller {
  Deadline deadline;
  std::stop_token gone;
  std::function<bool()> may_wait = {};
  std::uint64_t priority = 0;
  std::chrono::microseconds timeout{0};
  std::size_t bytes = 0;
};

// Where the time of one request went, for the statistics.
struct Timings {
  Clock::duration queue{};
  Clock::duration compute_input{};
  Clock::duration compute_infer{};
  Clock::duration compute_output{};
};

class Runner {
 public:
  virtual ~Runner() = default;

  // `inputs` as in Execution. Puts all wanted outputs, or says why not. Thread safe.
  virtual absl::Status Run(std::span<const TensorView> inputs, Outputs& outputs,
                           const Caller& caller, Timings& timings) = 0;

  // Requests that wait.
  virtual std::size_t pending() const { return 0; }
};

}  // namespace inferpool::modelserver
