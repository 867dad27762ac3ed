// What a model's KServe v2 metadata and configuration say about it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace inferpool {

// A tensor's name, its datatype's name in the protocol ("FP32", "BYTES") and its shape, in which -1
// stands for any length. When the model batches (max_batch_size > 0), the first dimension is the
// batch.
struct TensorSpec {
  std::string name;
  std::string datatype;
  std::vector<std::int64_t> shape;

  bool operator==(const TensorSpec&) const = default;
};

struct ModelDescription {
  std::string name;
  std::string version;
  std::int64_t max_batch_size = 0;
  std::uint64_t priority_levels = 0;         // 1 is the most urgent level; 0: there are no levels
  std::uint64_t default_priority_level = 0;  // the level of a request that names none
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<std::string> class_names;           // by class id; empty when unknown
  std::map<std::string, std::string> parameters;  // config.pbtxt's `parameters`, as text
  // False: the server has metadata alone, so what could be said of the model is not to be had.
  bool has_config = true;

  bool operator==(const ModelDescription&) const = default;
};

}  // namespace inferpool
