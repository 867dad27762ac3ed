#include "modelserver/engines/backends.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "modelserver/engines/add_sub.h"
#include "modelserver/engines/identity.h"
#include "modelserver/engines/onnxruntime.h"
#include "modelserver/engines/opencv_cascade.h"
#include "modelserver/engines/opencv_decode.h"
#include "modelserver/engines/opencv_hog.h"
#include "modelserver/engines/opencv_letterbox.h"
#include "modelserver/engines/picture_detector.h"

namespace inferpool::modelserver {
namespace {

// A backend that completes the configuration by itself, and makes each instance of its own.
template <absl::Status (*kComplete)(inference::ModelConfig&),
          absl::StatusOr<std::unique_ptr<Engine>> (*kMake)(const inference::ModelConfig&,
                                                           const std::filesystem::path&)>
absl::StatusOr<LoadedModel> LoadWithFiles(const std::filesystem::path& version_folder,
                                          inference::ModelConfig config) {
  RETURN_IF_ERROR(kComplete(config));
  LoadedModel loaded{.config = std::move(config)};
  loaded.make_engine = [version_folder](const inference::ModelConfig& completed) {
    return kMake(completed, version_folder);
  };
  return loaded;
}

// The same of a backend that has no files.
template <absl::Status (*kComplete)(inference::ModelConfig&),
          absl::StatusOr<std::unique_ptr<Engine>> (*kMake)(const inference::ModelConfig&)>
absl::StatusOr<LoadedModel> Load(const std::filesystem::path& /*version_folder*/,
                                 inference::ModelConfig config) {
  RETURN_IF_ERROR(kComplete(config));
  LoadedModel loaded{.config = std::move(config)};
  loaded.make_engine = kMake;
  return loaded;
}

constexpr std::array<Backend, 7> kBackends = {{
    {"onnxruntime", true, LoadOnnx},
    {"opencv_cascade", false, LoadWithFiles<CompletePictureDetector, MakeCascadeEngine>},
    {"opencv_hog", false, Load<CompletePictureDetector, MakeHogEngine>},
    {"opencv_decode", false, Load<CompleteDecode, MakeDecodeEngine>},
    {"opencv_letterbox", false, Load<CompleteLetterbox, MakeLetterboxEngine>},
    {"identity", false, Load<CompleteIdentity, MakeIdentityEngine>},
    {"add_sub", false, Load<CompleteAddSub, MakeAddSubEngine>},
}};

}  // namespace

absl::StatusOr<const Backend*> FindBackend(const inference::ModelConfig& config) {
  std::string_view name = config.backend().empty() ? config.platform() : config.backend();
  if (name.empty() || name == "onnxruntime_onnx") {
    name = "onnxruntime";
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
