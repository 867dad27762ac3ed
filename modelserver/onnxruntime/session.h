// A model that ONNX Runtime has loaded: what it takes and gives, and its runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "modelserver/onnxruntime/api.h"
#include "modelserver/onnxruntime/library.h"
#include "modelserver/onnxruntime/value.h"
#include "proto/datatype.h"
#include "shared/base/status.h"

namespace inferpool::ort {

// An input or output as the file has it.
struct TensorType {
  std::string name;
  // TYPE_INVALID when it is no tensor, or of a type that KServe does not have.
  inference::DataType datatype = inference::TYPE_INVALID;
  std::vector<std::int64_t> shape = {};   // -1 where the file does not give the size
  std::vector<std::string> symbols = {};  // as long as the shape: an open size's name, or empty
  bool optional = false;                  // an input that has a value of its own in the file
};

struct SessionSettings {
  std::string log_id;        // names the model in the log
  int intra_op_threads = 1;  // that one operator uses; 0: one per core
  int inter_op_threads = 1;  // with `parallel`: operators that run at once; 0: one per core
  bool parallel = false;
  OptimizationLevel optimization = kAll;
  // Whether the memory of a run is planned as one block for each shape of the inputs. The plans are
  // kept, so this is for models whose inputs have few shapes.
  bool plan_memory = true;
  // Sizes for open dimensions, by the name that the file gives them.
  std::vector<std::pair<std::string, std::int64_t>> sizes = {};
};

// Thread safe. Any number of runs can go on at the same time; they share the weights.
class Session {
 public:
  // Loads a model file and, beside it, its external data. INVALID_ARGUMENT when it is not a model
  // that can run; UNAVAILABLE without the library (Runtime).
  static absl::StatusOr<std::unique_ptr<const Session>> Open(const std::filesystem::path& file,
                                                             const SessionSettings& settings);

  // In the file's order. The optional inputs come last.
  const std::vector<TensorType>& inputs() const { return inputs_; }
  const std::vector<TensorType>& outputs() const { return outputs_; }

  // The value of the file's custom metadata; nullopt when it has none of that key.
  std::optional<std::string> Metadata(const std::string& key) const;

  const Library& library() const { return library_; }

  struct Named {
    const char* name;
    const Value* value;
  };
  // Runs the model on `inputs`, which have to include all that are not optional. `outputs` has an
  // element for each of `names`: a value that is there is written to; an empty one gets a value of
  // the runtime's. A stop of `abandoned` ends the run before its next operator, with CANCELLED.
  absl::Status Run(std::span<const Named> inputs, std::span<const char* const> names,
                   std::span<Value> outputs, const std::stop_token& abandoned) const;

 private:
  Session(const Library& library, OrtSession* session);
  absl::Status Describe();

  const Library& library_;
  const Handle<OrtSession, kReleaseSession> session_;
  std::vector<TensorType> inputs_;
  std::vector<TensorType> outputs_;
};

}  // namespace inferpool::ort
