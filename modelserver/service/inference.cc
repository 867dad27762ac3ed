#include "modelserver/service/inference.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "modelserver/config/request_check.h"
#include "modelserver/execution/request_parameters.h"
#include "modelserver/service/top_classes.h"
#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

void SetShared(const SharedMemoryReference& reference, std::size_t bytes,
               inference::ModelInferResponse::InferOutputTensor& output) {
  auto& parameters = *output.mutable_parameters();
  parameters["shared_memory_region"].set_string_param(reference.region);
  parameters["shared_memory_byte_size"].set_int64_param(static_cast<std::int64_t>(bytes));
  if (reference.offset > 0) {
    parameters["shared_memory_offset"].set_int64_param(static_cast<std::int64_t>(reference.offset));
  }
}

// The shared memory that one request uses. It is held until the answer is complete.
class Parts {
 public:
  explicit Parts(const SharedMemoryTable& table) : table_(table) {}

  absl::StatusOr<std::span<std::byte>> Find(const SharedMemoryReference& reference) {
    ASSIGN_OR_RETURN(SharedMemoryPart part,
                     table_.Find(reference.region, reference.offset, reference.byte_size));
    return parts_.emplace_back(std::move(part)).memory;
  }

 private:
  const SharedMemoryTable& table_;
  std::vector<SharedMemoryPart> parts_;
};

// What a request asks its model for.
struct Asked {
  TensorList inputs;
  Outputs outputs;
  // For each wanted output:
  std::vector<std::optional<SharedMemoryReference>> references = {};
  std::vector<std::int64_t> classes = {};  // of the classification extension; 0: none
};

absl::Status ReadOutputs(const inference::ModelInferRequest& request,
                         const inference::ModelConfig& config, Parts& parts, Asked& asked) {
  std::vector<std::string_view> names;
  for (const auto& output : request.outputs()) names.emplace_back(output.name());
  ASSIGN_OR_RETURN(const std::vector<int> chosen, ChooseOutputs(config, names));
  asked.references.resize(chosen.size());
  asked.classes.resize(chosen.size());
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!names.empty()) {
      const TensorParameters& parameters = request.outputs(static_cast<int>(i)).parameters();
      ASSIGN_OR_RETURN(auto reference, ReadSharedMemory(parameters));
      asked.references[i] = std::move(reference);
      const absl::StatusOr<std::int64_t> classes = ReadClassification(parameters);
      if (!classes.ok()) {
        return InvalidArgument("output '{}': {}", names[i], Message(classes.status()));
      }
      asked.classes[i] = *classes;
      if (asked.references[i] && asked.classes[i] > 0) {
        return InvalidArgument("output '{}': a classification does not go to shared memory",
                               names[i]);
      }
    }
    if (!asked.references[i]) {
      asked.outputs.Want(chosen[i]);
      continue;
    }
    ASSIGN_OR_RETURN(const std::span<std::byte> memory, parts.Find(*asked.references[i]));
    asked.outputs.WantShared(chosen[i], memory);
  }
  return absl::OkStatus();
}

absl::StatusOr<Asked> Read(const inference::ModelInferRequest& request,
                           const inference::ModelConfig& config, Parts& parts,
                           InferContext& context) {
  RETURN_IF_ERROR(ReadParameters(request.parameters(), context));
  const SharedMemoryLookup find = [&parts](const SharedMemoryReference& reference)
      -> absl::StatusOr<std::span<const std::byte>> { return parts.Find(reference); };
  ASSIGN_OR_RETURN(TensorList inputs, ReadInputs(request, find));
  Asked asked{.inputs = std::move(inputs), .outputs = Outputs(config)};
  RETURN_IF_ERROR(ReadOutputs(request, config, parts, asked));
  return asked;
}

}  // namespace

absl::Status Infer(const Repository& repository, const SharedMemoryTable& shared_memory,
                   const inference::ModelInferRequest& request, InferContext context,
                   inference::ModelInferResponse& response) {
  const TimePoint start = Clock::now();
  ASSIGN_OR_RETURN(const std::shared_ptr<Model> found,
                   repository.Find(request.model_name(), request.model_version()));
  Model& model = *found;
  Parts parts(shared_memory);
  absl::StatusOr<Asked> asked = Read(request, model.config(), parts, context);
  if (!asked.ok()) {
    model.CountFailure(Clock::now() - start);
    return asked.status();
  }
  RETURN_IF_ERROR(model.Infer(asked->inputs, asked->outputs, context));

  response.set_model_name(request.model_name());
  response.set_model_version(std::to_string(model.version()));
  response.set_id(request.id());
  for (std::size_t i = 0; i < asked->references.size(); ++i) {
    Outputs::Output& output = asked->outputs.wanted()[i];
    const inference::ModelOutput& configured = model.config().output(output.index);
    if (asked->classes[i] > 0) {
      ASSIGN_OR_RETURN(
          TopClasses top,
          FindTopClasses(asked->outputs.View(output), asked->classes[i],
                         model.config().max_batch_size() > 0, model.labels(output.index)));
      AddRawOutput(response, configured.name(), inference::TYPE_STRING, top.shape) =
          std::move(top.raw);
      continue;
    }
    AddRawOutput(response, configured.name(), configured.data_type(), output.shape) =
        std::move(output.own);
    if (asked->references[i]) {
      SetShared(*asked->references[i], output.bytes,
                *response.mutable_outputs(response.outputs_size() - 1));
    }
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver
