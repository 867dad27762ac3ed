// What runs a model. One engine is one instance: it is leased to one caller at a time (see
// scheduler.h) and need not be thread safe. Several instances of a model share nothing mutable.
#pragma once

#include <optional>
#include <span>

#include "modelserver/execution/outputs.h"
#include "proto/tensor.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// One request of a batch. `inputs` are the configuration's, in its order, with its datatypes and
// shapes (request_check.h checks them); when the model batches, the first dimension is the
// request's own number of rows. The inputs' memory is only read, and only during the run.
struct Execution {
  std::span<const TensorView> inputs;
  Outputs* outputs = nullptr;
  // How it went: INVALID_ARGUMENT when the input is at fault, INTERNAL when the library is,
  // RESOURCE_EXHAUSTED when memory is. An error of one request is not the others'.
  absl::Status status;
  // For the statistics, from engines that copy their inputs or outputs: when the inference itself
  // began and ended. What comes before is compute_input then, and what follows compute_output.
  std::optional<TimePoint> infer_start = {};
  std::optional<TimePoint> infer_end = {};
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Runs the requests of a batch, at least one and max_batch_size rows in all (a model that does
  // not batch: one request): puts all wanted outputs of each, or sets its status. The requests are
  // not joined into one tensor: an engine whose library gains from that joins them itself.
  // The engine stays usable after an error. Never throws.
  virtual void Run(std::span<Execution> batch) = 0;

  // Whether Run never takes longer than it takes to copy its inputs.
  virtual bool instant() const { return false; }
};

// An engine that takes its requests one after the other, as OpenCV's gain nothing from a batch.
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
