// What is known of a model before a request comes, from its KServe v2 metadata and config. Plain
// values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace inferpool {

// A tensor's name, KServe datatype ("FP32", "UINT8", "BYTES", ...) and shape. -1 stands for any
// length. When the model batches (max_batch_size > 0), the first dimension of `shape` is the batch.
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
  std::uint64_t priority_levels = 0;         // 1 is the most urgent; 0: the model knows none
  std::uint64_t default_priority_level = 0;  // of a request that names none
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<std::string> class_names;           // by class id; empty when unknown
  std::map<std::string, std::string> parameters;  // config.pbtxt's `parameters`, as text

  bool operator==(const ModelDescription&) const = default;
};

}  // namespace inferpool
