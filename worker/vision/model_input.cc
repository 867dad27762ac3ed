#include "worker/vision/model_input.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <optional>

#include "shared/base/status.h"
#include "worker/vision/families/unsupported_model.h"

namespace inferpool::vision {
namespace {

absl::StatusOr<Datatype> ReadDatatype(const ModelDescription& model, const TensorSpec& input) {
  for (const Datatype datatype : {Datatype::kFp32, Datatype::kFp16, Datatype::kUint8}) {
    if (input.datatype == Name(datatype)) {
      return datatype;
    }
  }
  return UnsupportedModel(
      model,
      "input {} is {}; FP32, FP16 and UINT8 can be fed with pictures, and BYTES [1] or "
      "UINT8 [-1] with their files",
      input.name, input.datatype);
}

// Height and width of [3, H, W] or [H, W, 3], and which it is.
absl::Status ReadChannels(const ModelDescription& model, const TensorSpec& input, const Shape& row,
                          InputLayout& layout, Shape& sides) {
  const bool first = row.size() == 3 && row[0] == 3;
  const bool last = row.size() == 3 && row[2] == 3;
  if (first == last) {
    return UnsupportedModel(
        model,
        "input {} is {}; one picture must be [3, height, width] or [height, width, "
        "3], with `dims` saying in config.pbtxt where the 3 is",
        input.name, Text(input.shape));
  }
  layout.channels_first = first;
  sides = first ? Shape{row[1], row[2]} : Shape{row[0], row[1]};
  return absl::OkStatus();
}

absl::Status ReadSize(const ModelDescription& model, const TensorSpec& input, const Shape& sides,
                      const Parameters& parameters, InputLayout& layout) {
  const auto fits = [](std::int64_t side) { return side >= 1 && side <= kMaxInputSide; };
  for (const std::int64_t side : sides) {
    if (side != kAny && !fits(side)) {
      return UnsupportedModel(model, "input {} is {}; a side must be 1 to {}", input.name,
                              Text(input.shape), kMaxInputSide);
    }
  }
  if (const std::optional<cv::Size> wanted = parameters.input_size) {
    const bool same_height = sides[0] == kAny || sides[0] == wanted->height;
    const bool same_width = sides[1] == kAny || sides[1] == wanted->width;
    if (!same_height || !same_width) {
      return UnsupportedModel(model, "parameter input_size is {}x{} but input {} is {}",
                              wanted->width, wanted->height, input.name, Text(input.shape));
    }
    layout.size = *wanted;
  } else if (sides[0] != kAny && sides[1] != kAny) {
    layout.size = {static_cast<int>(sides[1]), static_cast<int>(sides[0])};
  } else if (parameters.multiple_of) {
    layout.size = {static_cast<int>(std::max<std::int64_t>(sides[1], 0)),
                   static_cast<int>(std::max<std::int64_t>(sides[0], 0))};
  } else if (layout.datatype != Datatype::kUint8 || sides[0] != sides[1]) {
    return UnsupportedModel(
        model,
        "input {} is {}; set its size in config.pbtxt, for example parameters {{ key: "
        "\"input_size\" value: {{ string_value: \"640x640\" }} }} (or for this model under "
        "`models` in "
        "inferpool's configuration), or multiple_of when it takes "
        "every size that is a multiple of a number",
        input.name, Text(input.shape));
  }
  const bool open = layout.size.empty();
  if (open && parameters.resize) {
    return UnsupportedModel(model, "parameter resize needs an input of fixed size or input_size");
  }
  if (!open && (parameters.max_side || parameters.multiple_of)) {
    return UnsupportedModel(model,
                            "parameters max_side and multiple_of are for inputs of open size");
  }
  layout.max_side = parameters.max_side.value_or(layout.max_side);
  layout.multiple_of = parameters.multiple_of.value_or(1);
  if (layout.max_side % layout.multiple_of != 0) {
    return UnsupportedModel(model, "parameter max_side is {}, which is not a multiple of {}",
                            layout.max_side, layout.multiple_of);
  }
  return absl::OkStatus();
}

// The picture's file: BYTES [1], or UINT8 [any].
std::optional<InputKind> ReadFileKind(const TensorSpec& input, const Shape& row) {
  if (input.datatype == "BYTES" && (row.empty() || row == Shape{1} || row == Shape{kAny})) {
    return InputKind::kFile;
  }
  if (input.datatype == Name(Datatype::kUint8) && row == Shape{kAny}) {
    return InputKind::kFileBytes;
  }
  return std::nullopt;
}

absl::Status ReadServerSide(const ModelDescription& model, const Parameters& parameters,
                            InputLayout& layout) {
  if (parameters.scale || parameters.mean || parameters.std_deviation || parameters.max_side ||
      parameters.multiple_of) {
    return UnsupportedModel(
        model,
        "takes the picture's file, so parameters scale, mean, std, max_side and multiple_of are "
        "the server's");
  }
  if (parameters.resize && !parameters.input_size) {
    return UnsupportedModel(model, "parameter resize needs an input of fixed size or input_size");
  }
  layout.datatype = Datatype::kUint8;
  layout.size = parameters.input_size.value_or(cv::Size());
  layout.max_side = std::numeric_limits<int>::max();
  return absl::OkStatus();
}

absl::Status ReadNormalisation(const ModelDescription& model, const Parameters& parameters,
                               const FamilyRow& family, InputLayout& layout) {
  if (layout.datatype == Datatype::kUint8) {
    if (parameters.scale || parameters.mean || parameters.std_deviation) {
      return UnsupportedModel(model, "parameters scale, mean and std are for FP32 and FP16 inputs");
    }
    return absl::OkStatus();
  }
  const double scale = parameters.scale.value_or(family.scale);
  const auto mean = parameters.mean.value_or(std::array{0.0, 0.0, 0.0});
  const auto deviation = parameters.std_deviation.value_or(std::array{1.0, 1.0, 1.0});
  for (std::size_t channel = 0; channel < 3; ++channel) {
    layout.scale[channel] = static_cast<float>(scale / deviation[channel]);
    layout.offset[channel] = static_cast<float>(0 - mean[channel] / deviation[channel]);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadInput(const ModelDescription& model, const Parameters& parameters,
                       ModelPlan& plan) {
  if (model.inputs.size() != 1) {
    return UnsupportedModel(model, "has {} inputs; only models with one, a picture, can be fed",
                            model.inputs.size());
  }
  const TensorSpec& input = model.inputs.front();
  plan.input_name = input.name;

  Shape row = input.shape;
  plan.has_batch_dimension =
      model.max_batch_size > 0 || (row.size() == 4 && (row.front() == 1 || row.front() == kAny));
  if (plan.has_batch_dimension && !row.empty()) {
    row.erase(row.begin());
  }
  if (const std::optional<InputKind> file = ReadFileKind(input, row)) {
    plan.input_kind = *file;
    return ReadServerSide(model, parameters, plan.input);
  }
  absl::StatusOr<Datatype> datatype = ReadDatatype(model, input);
  if (!datatype.ok()) {
    return datatype.status();
  }
  plan.input.datatype = *datatype;
  Shape sides;
  RETURN_IF_ERROR(ReadChannels(model, input, row, plan.input, sides));
  return ReadSize(model, input, sides, parameters, plan.input);
}

absl::Status ReadPreparation(const ModelDescription& model, const Parameters& parameters,
                             const FamilyRow& family, ModelPlan& plan) {
  plan.input.resize = parameters.resize.value_or(family.resize);
  plan.input.rgb = parameters.rgb.value_or(family.rgb);
  return plan.input_kind == InputKind::kPixels
             ? ReadNormalisation(model, parameters, family, plan.input)
             : absl::OkStatus();
}

}  // namespace inferpool::vision
