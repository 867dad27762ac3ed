// The interface of what runs a model. One engine is one instance of the model. The scheduler
// (scheduler.h) lets one thread at a time use it, so it need not be thread safe. Instances share
// nothing that changes.
#pragma once

#include <optional>
#include <span>
#include <stop_token>

#include "modelserver/execution/outputs.h"
#include "proto/tensor.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// One request of a batch. `inputs` are in the configuration's order and have its datatypes and
// shapes (request_check.h has checked that). When the model batches, their first dimension is the
// request's own number of rows. An engine only reads their memory, and only during the run.
struct Execution {
  std::span<const TensorView> inputs;
  Outputs* outputs = nullptr;
  // The result, which the engine sets for each request of the batch on its own: INVALID_ARGUMENT
  // when the input is at fault, INTERNAL when the library is, RESOURCE_EXHAUSTED when there is not
  // enough memory.
  absl::Status status;
  // When the inference itself began and ended, set by engines that copy inputs or outputs. In the
  // statistics the time before it is compute_input, and the time after it compute_output.
  std::optional<TimePoint> infer_start = {};
  std::optional<TimePoint> infer_end = {};
  // Stops when nobody waits any longer for any request of the batch; the same for all of them. An
  // engine that can end a run then may do so.
  std::stop_token abandoned = {};
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Runs a batch: at least one request, and at most max_batch_size rows in all; one request when
  // the model does not batch. Puts all wanted outputs of each request or sets its status to an
  // error. The engine can be used again after an error. Never throws.
  //
  // The requests are not joined into one tensor. An engine whose library gains from that joins them
  // itself.
  virtual void Run(std::span<Execution> batch) = 0;

  // True when Run never takes longer than a copy of its inputs. The thread at the queue of calls
  // then runs a small request itself instead of waking another one.
  virtual bool instant() const { return false; }
};

// An engine that runs its requests one after the other. OpenCV gains nothing from a batch.
class OneByOneEngine : public Engine {
 public:
  void Run(std::span<Execution> batch) final {
    for (Execution& execution : batch) {
      execution.status = RunOne(execution.inputs, *execution.outputs);
    }
  }

 private:
  virtual absl::Status RunOne(std::span<const TensorView> inputs, Outputs& outputs) = 0;
};

}  // namespace inferpool::modelserver
