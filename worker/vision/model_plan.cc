#include "worker/vision/model_plan.h"

#include "shared/base/status.h"
#include "worker/vision/families/unsupported_model.h"
#include "worker/vision/model_input.h"
#include "worker/vision/model_output.h"
#include "worker/vision/parameters.h"

namespace inferpool::vision {

absl::StatusOr<ModelPlan> MakePlan(const ModelDescription& model) {
  absl::StatusOr<Parameters> parameters = ReadParameters(model.parameters);
  if (!parameters.ok()) {
    return UnsupportedModel(model, "{}", Message(parameters.status()));
  }
  ModelPlan plan;
  plan.normalized_boxes = parameters->normalized_boxes.value_or(false);
  plan.scores = parameters->scores;
  RETURN_IF_ERROR(ReadInput(model, *parameters, plan));
  absl::StatusOr<const FamilyRow*> family = ReadOutputs(model, *parameters, plan);
  if (!family.ok()) {
    return family.status();
  }
  RETURN_IF_ERROR(ReadPreparation(model, *parameters, **family, plan));
  return plan;
}

std::vector<std::int64_t> RowShape(const ModelPlan& plan, cv::Size input, std::size_t file_bytes) {
  switch (plan.input_kind) {
    case InputKind::kFile:
      return {1};
    case InputKind::kFileBytes:
      return {static_cast<std::int64_t>(file_bytes)};
    case InputKind::kPixels:
      break;
  }
  return plan.input.channels_first ? Shape{3, input.height, input.width}
                                   : Shape{input.height, input.width, 3};
}

std::string_view WireDatatype(const ModelPlan& plan) {
  return plan.input_kind == InputKind::kFile ? "BYTES" : Name(plan.input.datatype);
}

std::string_view Name(Datatype datatype) {
  switch (datatype) {
    case Datatype::kFp32:
      return "FP32";
    case Datatype::kFp16:
      return "FP16";
    case Datatype::kUint8:
      return "UINT8";
  }
  return "unknown";
}

}  // namespace inferpool::vision
