// What runs a model. One engine is one instance: it is leased to one caller at a time (see
// instance_pool.h) and need not be thread safe. Several instances of a model share nothing mutable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/status.h"

namespace inferpool::modelserver {

// A tensor the engine made; `data` is raw, as the wire wants it.
struct OutputTensor {
  std::string name;
  inference::DataType datatype = inference::TYPE_INVALID;
  std::vector<std::int64_t> shape;
  std::string data;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Runs one request or batch. `inputs` are the configuration's, in its order, with its datatypes
  // and shapes (request.h checks them); when the model batches, the first dimension is the batch.
  // Answers all outputs of the configuration, in its order. The inputs' memory is only read, and
  // only during the call. Errors: INVALID_ARGUMENT when the input is at fault, INTERNAL when the
  // library is, RESOURCE_EXHAUSTED when memory is; the engine stays usable. Never throws.
  virtual absl::StatusOr<std::vector<OutputTensor>> Run(std::span<const TensorView> inputs) = 0;
};

}  // namespace inferpool::modelserver
