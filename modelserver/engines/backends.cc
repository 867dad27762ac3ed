#include "modelserver/engines/backends.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "modelserver/engines/add_sub.h"
#include "modelserver/engines/identity.h"
#include "modelserver/engines/onnx_file.h"
#include "modelserver/engines/opencv_cascade.h"
#include "modelserver/engines/opencv_decode.h"
#include "modelserver/engines/opencv_dnn.h"
#include "modelserver/engines/opencv_hog.h"
#include "modelserver/engines/opencv_letterbox.h"
#include "modelserver/engines/picture_detector.h"

namespace inferpool::modelserver {
namespace {

std::filesystem::path OnnxPath(const inference::ModelConfig& config,
                               const std::filesystem::path& version_folder) {
  return version_folder / config.default_model_filename();
}

absl::Status CompleteOnnx(const std::filesystem::path& version_folder,
                          inference::ModelConfig& config, std::vector<std::string>& class_names) {
  if (config.default_model_filename().empty()) {
    config.set_default_model_filename("model.onnx");
  }
  const std::filesystem::path name = config.default_model_filename();
  if (name.filename() != name) {
    return InvalidArgument("default_model_filename is not a plain file name");
  }
  ASSIGN_OR_RETURN(OnnxFile onnx, ReadOnnxFile(OnnxPath(config, version_folder)));
  class_names = std::move(onnx.class_names);
  RETURN_IF_ERROR(CompleteFromOnnx(onnx, config));
  CompleteOutputDims(OnnxPath(config, version_folder), config);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeOnnx(const inference::ModelConfig& config,
                                                 const std::filesystem::path& version_folder) {
  return MakeDnnEngine(config, OnnxPath(config, version_folder));
}

// A backend that has no model file: what it completes and makes is the configuration's alone.
template <absl::Status (*kComplete)(inference::ModelConfig&)>
absl::Status Complete(const std::filesystem::path& /*version_folder*/,
                      inference::ModelConfig& config, std::vector<std::string>& /*class_names*/) {
  return kComplete(config);
}

template <absl::StatusOr<std::unique_ptr<Engine>> (*kMake)(const inference::ModelConfig&)>
absl::StatusOr<std::unique_ptr<Engine>> Make(const inference::ModelConfig& config,
                                             const std::filesystem::path& /*version_folder*/) {
  return kMake(config);
}

constexpr std::array<Backend, 7> kBackends = {{
    {"opencv_dnn", true, CompleteOnnx, MakeOnnx},
    {"opencv_cascade", false, Complete<CompletePictureDetector>, MakeCascadeEngine},
    {"opencv_hog", false, Complete<CompletePictureDetector>, Make<MakeHogEngine>},
    {"opencv_decode", false, Complete<CompleteDecode>, Make<MakeDecodeEngine>},
    {"opencv_letterbox", false, Complete<CompleteLetterbox>, Make<MakeLetterboxEngine>},
    {"identity", false, Complete<CompleteIdentity>, Make<MakeIdentityEngine>},
    {"add_sub", false, Complete<CompleteAddSub>, Make<MakeAddSubEngine>},
}};

}  // namespace

absl::StatusOr<const Backend*> FindBackend(const inference::ModelConfig& config) {
  std::string_view name = config.backend().empty() ? config.platform() : config.backend();
  if (name.empty() || name == "onnxruntime" || name == "onnxruntime_onnx") {
    name = "opencv_dnn";
  }
  const auto* found = std::ranges::find(kBackends, name, &Backend::name);
  if (found == kBackends.end()) {
    std::vector<std::string_view> names;
    std::ranges::transform(kBackends, std::back_inserter(names), &Backend::name);
    return InvalidArgument("there is no backend '{}', only {}", name, fmt::join(names, ", "));
  }
  return found;
}

}  // namespace inferpool::modelserver
