#include "modelserver/engines/onnxruntime.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "modelserver/config/name_list.h"
#include "modelserver/config/ultralytics.h"
#include "modelserver/engines/onnx_config.h"
#include "modelserver/engines/onnx_engine.h"
#include "modelserver/engines/onnx_trial.h"
#include "modelserver/onnxruntime/session.h"
#include "shared/base/processors.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxMetadata = 1000;  // of a value that becomes a parameter, in bytes

// Adds what Ultralytics' exports say of themselves and whoever reads the outputs has to know.
void AddMetadata(const ort::Session& session, inference::ModelConfig& config) {
  const bool nms = SaysNms(session.Metadata("args").value_or(""));
  for (const std::string key : {"task", "head", "end2end", "kpt_shape"}) {
    const std::optional<std::string> value =
        nms && key == "end2end" ? "True" : session.Metadata(key);
    if (value && !value->empty() && value->size() <= kMaxMetadata && IsUtf8(*value) &&
        !config.parameters().contains(key)) {
      (*config.mutable_parameters())[key].set_string_value(*value);
    }
  }
}

OnnxDescription Describe(const ort::Session& session) {
  OnnxDescription file{.inputs = session.inputs(), .outputs = session.outputs()};
  if (const std::optional<std::string> size = session.Metadata("imgsz")) {
    file.picture_size = ParseUltralyticsSize(*size);
  }
  return file;
}

// Sizes that the configuration leaves open and the session, as it was opened, does not.
template <typename Tensor>
void CloseDims(const std::vector<ort::TensorType>& session, bool batch,
               google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  for (Tensor& tensor : tensors) {
    const auto found = std::ranges::find(session, tensor.name(), &ort::TensorType::name);
    const std::size_t before = batch ? 1 : 0;
    if (found == session.end() ||
        found->shape.size() != static_cast<std::size_t>(tensor.dims_size()) + before) {
      continue;
    }
    for (int i = 0; i < tensor.dims_size(); ++i) {
      if (tensor.dims(i) == -1) {
        tensor.set_dims(i, found->shape[static_cast<std::size_t>(i) + before]);
      }
    }
  }
}

// Whether the file has an operator that decides by values of floating-point tensors what it reads
// and writes (sorts, picks, samples), so that values that change meanwhile could lead it astray.
// The names are looked for in the bytes of the file: one that is there by chance costs a copy.
absl::StatusOr<bool> DecidesByValues(const std::filesystem::path& file) {
  constexpr std::array<std::string_view, 14> kNames{
      "TopK",       "Unique",        "NonMaxSuppression", "RoiAlign",     "MaxRoiPool",
      "GridSample", "DeformConv",    "Multinomial",       "NonZero",      "OneHot",
      "Range",      "com.microsoft", "ai.onnx.ml",        "CropAndResize"};
  constexpr std::size_t kBlock = std::size_t{1} << 20U;
  constexpr std::size_t kOverlap = 32;  // longer than a name
  std::ifstream stream(file, std::ios::binary);
  std::string text;
  while (stream) {
    text.erase(0, text.size() < kOverlap ? 0 : text.size() - kOverlap);
    const std::size_t before = text.size();
    text.resize(before + kBlock);
    stream.read(text.data() + before, static_cast<std::streamsize>(kBlock));
    text.resize(before + static_cast<std::size_t>(stream.gcount()));
    if (std::ranges::any_of(kNames, [&text](std::string_view name) {
          return text.find(name) != std::string::npos;
        })) {
      return true;
    }
  }
  if (!stream.eof()) {
    return InvalidArgument("cannot read {}", file.string());
  }
  return false;
}

absl::StatusOr<std::unique_ptr<OnnxModel>> LoadModel(const std::filesystem::path& file,
                                                     ort::SessionSettings settings,
                                                     const inference::ModelConfig& given,
                                                     bool may_batch) {
  ASSIGN_OR_RETURN(std::unique_ptr<const ort::Session> session, ort::Session::Open(file, settings));
  auto model = std::make_unique<OnnxModel>();
  model->config = given;
  OnnxDescription described = Describe(*session);
  RETURN_IF_ERROR(CompleteFromOnnx(described, may_batch, model->config));
  ASSIGN_OR_RETURN(settings.sizes, NamedSizes(described, model->config));
  if (!settings.sizes.empty()) {
    // Loaded again, now that its sizes are known: the runtime optimizes better with them.
    session.reset();
    ASSIGN_OR_RETURN(session, ort::Session::Open(file, settings));
    described = Describe(*session);
    const bool batch = model->config.max_batch_size() > 0;
    model->config = given;
    CloseDims(described.inputs, batch, *model->config.mutable_input());
    CloseDims(described.outputs, batch, *model->config.mutable_output());
    RETURN_IF_ERROR(CompleteFromOnnx(described, may_batch, model->config));
  }
  ASSIGN_OR_RETURN(model->decides_by_values, DecidesByValues(file));
  for (const inference::ModelOutput& output : model->config.output()) {
    model->passed_through.push_back(
        std::ranges::find(described.inputs, output.name(), &ort::TensorType::name) !=
        described.inputs.end());
  }
  model->session = std::move(session);
  model->row_by_row = RunsRowByRow(described, model->config);
  model->shown.resize(static_cast<std::size_t>(model->config.output_size()));
  return model;
}

}  // namespace

absl::StatusOr<LoadedModel> LoadOnnx(const std::filesystem::path& version_folder,
                                     inference::ModelConfig config) {
  if (config.default_model_filename().empty()) {
    config.set_default_model_filename("model.onnx");
  }
  const std::filesystem::path name = config.default_model_filename();
  if (name.filename() != name) {
    return InvalidArgument("default_model_filename is not a plain file name");
  }
  ASSIGN_OR_RETURN(ort::SessionSettings settings, SettingsOf(config));
  const int processors = UsableProcessors();
  CompleteInstances(settings, static_cast<unsigned>(processors), config);
  // The runtime itself would count the processors of the machine.
  for (int* threads : {&settings.intra_op_threads, &settings.inter_op_threads}) {
    if (*threads == 0) *threads = processors;
  }
  const std::filesystem::path file = version_folder / name;
  ASSIGN_OR_RETURN(std::unique_ptr<OnnxModel> model, LoadModel(file, settings, config, true));
  absl::Status tried = TryModel(*model);
  if (!tried.ok() && config.max_batch_size() == 0 && model->config.max_batch_size() > 0) {
    // What the file leaves open in front is perhaps no batch, but the number of things found.
    ASSIGN_OR_RETURN(model, LoadModel(file, settings, config, false));
    tried = TryModel(*model);
  }
  if (!tried.ok()) {
    return InvalidArgument("{}: {}", file.string(), Message(tried));
  }
  AddMetadata(*model->session, model->config);
  LoadedModel loaded{.config = model->config};
  loaded.class_names = ParseNameList(model->session->Metadata("names").value_or(""));
  loaded.make_engine = [shared = std::shared_ptr<const OnnxModel>(std::move(model))](
                           const inference::ModelConfig& /*config*/) {
    return absl::StatusOr<std::unique_ptr<Engine>>(MakeOnnxEngine(shared));
  };
  return loaded;
}

}  // namespace inferpool::modelserver
