#include "modelserver/inference.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "modelserver/request.h"
#include "modelserver/top_classes.h"
#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

constexpr const char* kClassificationParameter = "classification";
constexpr std::uint64_t kMaxClasses = 1'000'000;

// A parameter of the request that is a count; 0 when it is absent or no count: Triton ignores what
// it does not understand here.
std::uint64_t Count(const TensorParameters& parameters, const std::string& key) {
  const auto found = parameters.find(key);
  if (found == parameters.end()) return 0;
  if (found->second.has_uint64_param()) return found->second.uint64_param();
  return static_cast<std::uint64_t>(std::max<std::int64_t>(found->second.int64_param(), 0));
}

void SetShared(const SharedMemoryReference& reference, std::size_t bytes,
               inference::ModelInferResponse::InferOutputTensor& output) {
  auto& parameters = *output.mutable_parameters();
  parameters["shared_memory_region"].set_string_param(reference.region);
  parameters["shared_memory_byte_size"].set_int64_param(static_cast<std::int64_t>(bytes));
  if (reference.offset > 0) {
    parameters["shared_memory_offset"].set_int64_param(static_cast<std::int64_t>(reference.offset));
  }
}

// Shared memory of one request: held until its answer is complete.
class Parts {
 public:
  explicit Parts(const SharedMemoryTable& table) : table_(table) {}

  absl::StatusOr<std::span<std::byte>> Find(const SharedMemoryReference& reference) {
    absl::StatusOr<SharedMemoryPart> part =
        table_.Find(reference.region, reference.offset, reference.byte_size);
    RETURN_IF_ERROR(part.status());
    return parts_.emplace_back(*std::move(part)).memory;
  }

 private:
  const SharedMemoryTable& table_;
  std::vector<SharedMemoryPart> parts_;
};

}  // namespace

absl::Status Infer(const Repository& repository, const SharedMemoryTable& shared_memory,
                   const inference::ModelInferRequest& request, Caller caller,
                   inference::ModelInferResponse& response) {
  const absl::StatusOr<std::shared_ptr<Model>> found =
      repository.Find(request.model_name(), request.model_version());
  RETURN_IF_ERROR(found.status());
  Model& model = **found;
  Parts parts(shared_memory);
  const absl::StatusOr<TensorList> inputs = ReadInputs(
      request,
      [&parts](const SharedMemoryReference& reference)
          -> absl::StatusOr<std::span<const std::byte>> { return parts.Find(reference); });
  RETURN_IF_ERROR(inputs.status());

  std::vector<std::string_view> names;
  for (const auto& output : request.outputs()) names.emplace_back(output.name());
  const absl::StatusOr<std::vector<int>> chosen = ChooseOutputs(model.config(), names);
  RETURN_IF_ERROR(chosen.status());
  Outputs outputs(model.config());
  std::vector<std::optional<SharedMemoryReference>> references(chosen->size());
  std::vector<std::uint64_t> classes(chosen->size());  // of the classification extension; 0: none
  for (std::size_t i = 0; i < chosen->size(); ++i) {
    if (!names.empty()) {
      auto reference = ReadSharedMemory(request.outputs(static_cast<int>(i)).parameters());
      RETURN_IF_ERROR(reference.status());
      references[i] = *std::move(reference);
      classes[i] =
          Count(request.outputs(static_cast<int>(i)).parameters(), kClassificationParameter);
      if (references[i] && classes[i] > 0) {
        return absl::InvalidArgumentError(
            fmt::format("output '{}': a classification does not go to shared memory", names[i]));
      }
    }
    if (!references[i]) {
      outputs.Want((*chosen)[i]);
      continue;
    }
    const absl::StatusOr<std::span<std::byte>> memory = parts.Find(*references[i]);
    RETURN_IF_ERROR(memory.status());
    outputs.WantShared((*chosen)[i], *memory);
  }

  caller.priority = Count(request.parameters(), "priority");
  caller.timeout = std::chrono::microseconds(static_cast<std::int64_t>(std::min<std::uint64_t>(
      Count(request.parameters(), "timeout"), std::chrono::microseconds::max().count())));
  RETURN_IF_ERROR(model.Infer(*inputs, outputs, caller));

  response.set_model_name(request.model_name());
  response.set_model_version(std::to_string(model.version()));
  response.set_id(request.id());
  for (std::size_t i = 0; i < references.size(); ++i) {
    Outputs::Output& output = outputs.wanted()[i];
    const inference::ModelOutput& configured = model.config().output(output.index);
    if (classes[i] > 0) {
      const auto count =
          static_cast<std::int64_t>(std::min<std::uint64_t>(classes[i], kMaxClasses));
      absl::StatusOr<TopClasses> top =
          FindTopClasses(outputs.View(output), count, model.config().max_batch_size() > 0,
                         model.labels(output.index));
      RETURN_IF_ERROR(top.status());
      AddRawOutput(response, configured.name(), inference::TYPE_STRING, top->shape) =
          std::move(top->raw);
      continue;
    }
    AddRawOutput(response, configured.name(), configured.data_type(), output.shape) =
        std::move(output.own);
    if (references[i]) {
      SetShared(*references[i], output.bytes,
                *response.mutable_outputs(response.outputs_size() - 1));
    }
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver
