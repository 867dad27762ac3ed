#include "worker/backend/infer_request.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "proto/tensor.h"
#include "worker/backend/tensor_message.h"

namespace inferpool::backend {
namespace {

// What an output of a batch of `rows` takes; none when its size is the answer's to say.
std::optional<std::size_t> OutputBytes(const Model& model, const std::string& name, int rows) {
  const auto& outputs = model.description.outputs;
  const auto output = std::ranges::find(outputs, name, &TensorSpec::name);
  if (output == outputs.end()) return std::nullopt;
  std::vector<std::int64_t> shape = output->shape;
  if (model.description.max_batch_size > 0 && !shape.empty()) shape[0] = rows;
  const absl::StatusOr<std::size_t> bytes = ByteSize(ParseDatatype(output->datatype), shape);
  return bytes.ok() ? std::optional(*bytes) : std::nullopt;
}

// Places in `arena` for the outputs whose sizes are known; none when they do not find room.
void PlaceOutputs(const Model& model, int rows, Arena& arena, InferRequest& request) {
  std::vector<OutputPlace> places;
  std::size_t total = 0;
  for (const std::string& name : model.plan->outputs) {
    if (const auto bytes = OutputBytes(model, name, rows); bytes && *bytes > 0) {
      if (*bytes > arena.size()) return;
      places.push_back({.name = name, .lease = nullptr, .offset = total, .bytes = *bytes});
      total += OffsetAllocator::Rounded(*bytes);
    }
  }
  if (total == 0) return;
  const auto memory = std::make_shared<Lease>(arena.Allocate(total));
  if (!*memory) return;
  for (OutputPlace& place : places) place.lease = memory;
  request.places = std::move(places);
  request.output_memory = memory;
}

inference::ModelInferRequest WithoutTensors(const Model& model, const BatchInput& input,
                                            Priority priority) {
  const vision::ModelPlan& plan = *model.plan;
  inference::ModelInferRequest message;
  message.set_model_name(model.description.name);
  message.set_model_version(model.version);
  if (const std::uint64_t level = PriorityLevel(model, priority); level != 0) {
    SetPriorityLevel(message, level);
  }
  auto& tensor = *message.add_inputs();
  tensor.set_name(plan.input_name);
  tensor.set_datatype(std::string(vision::WireDatatype(plan)));
  if (plan.has_batch_dimension) tensor.add_shape(input.rows);
  tensor.mutable_shape()->Add(input.row_shape.begin(), input.row_shape.end());
  for (const std::string& output : plan.outputs) message.add_outputs()->set_name(output);
  return message;
}

}  // namespace

std::uint64_t PriorityLevel(const Model& model, Priority priority) {
  const std::uint64_t levels = model.description.priority_levels;
  if (levels == 0 || priority == Priority::kNormal) return 0;
  const std::uint64_t level = priority == Priority::kHigh ? 1 : levels;
  return level == model.description.default_priority_level ? 0 : level;
}

void SetPriorityLevel(inference::ModelInferRequest& request, std::uint64_t level) {
  inference::InferParameter& parameter = (*request.mutable_parameters())["priority"];
  if (std::in_range<std::int64_t>(level)) {
    parameter.set_int64_param(static_cast<std::int64_t>(level));
  } else {
    parameter.set_uint64_param(level);
  }
}

absl::StatusOr<InferRequest> MakeInferRequest(const Model& model, const BatchInput& input,
                                              Priority priority, SharedRegions::Way way) {
  InferRequest request;
  inference::ModelInferRequest message = WithoutTensors(model, input, priority);
  std::vector<RawInput> raw;
  if (way == SharedRegions::Way::kInline) {
    raw.push_back(
        {std::span<const std::byte>(input.memory->bytes()).subspan(input.offset, input.bytes),
         input.memory});
  } else {
    PutInSharedMemory(*input.memory, input.offset, input.bytes,
                      *message.mutable_inputs(0)->mutable_parameters());
    PlaceOutputs(model, input.rows, *input.memory->arena(), request);
    for (auto& output : *message.mutable_outputs()) {
      const auto place = std::ranges::find(request.places, output.name(), &OutputPlace::name);
      if (place == request.places.end()) continue;
      PutInSharedMemory(*request.output_memory, place->offset, place->bytes,
                        *output.mutable_parameters());
    }
  }
  absl::StatusOr<grpc::ByteBuffer> encoded = Encode(message, raw);
  RETURN_IF_ERROR(encoded.status());
  request.message = *std::move(encoded);
  return request;
}

}  // namespace inferpool::backend
