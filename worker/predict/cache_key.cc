#include "worker/predict/cache_key.h"

#include <fmt/format.h>

#include "shared/base/json_text.h"
#include "worker/predict/models.h"

namespace inferpool::predict {
namespace {

constexpr std::size_t kMaxModels = 1000;

// To be raised when the program answers something else than before: kept answers outlive it.
constexpr int kAnswersVersion = 2;

// What the request looks at and wants, as a text whose parts can be told.
std::string TextOfView(const http::PredictParameters& parameters, int most_tiles) {
  std::string text = fmt::format(" {}", parameters.class_agnostic);
  if (const auto& roi = parameters.roi) {
    text += fmt::format(" roi {} {} {} {}", roi->x1, roi->y1, roi->x2, roi->y2);
  }
  if (const auto& tiles = parameters.tiles) {
    text += fmt::format(" tiles {} {} {} {}", tiles->columns, tiles->rows, parameters.tile_overlap,
                        most_tiles);
  }
  text += QuotedJson(parameters.classes);
  for (const auto& [name, confidence] : parameters.class_confidence) {
    text += fmt::format("{}{}", QuotedJson(name), confidence);
  }
  return text;
}

Sha256 DigestOfDescription(const backend::Model& model) {
  std::string text = ToJson(model);
  for (const auto& [name, value] : model.description.parameters) {
    text += QuotedJson(name) + QuotedJson(value);
  }
  return Sha256Of(text);
}

}  // namespace

CacheKey CacheKeys::For(std::string_view picture,
                        const std::shared_ptr<const backend::Model>& model,
                        const http::PredictParameters& parameters, std::string_view output) {
  // Of fixed length, then texts whose ends can be told.
  std::string text(Sha256Of(picture).view());
  text += DigestOf(model).view();
  text += fmt::format("{} {} {} {} {} {} {} {}", kAnswersVersion, parameters.confidence,
                      parameters.iou, parameters.max_detections, parameters.normalized,
                      config_.decode.reduced, config_.limits.pixels, output);
  text += TextOfView(parameters, config_.predict.tiles);
  return Sha256Of(text);
}

Sha256 CacheKeys::DigestOf(const std::shared_ptr<const backend::Model>& model) {
  const MutexLock lock(mutex_);
  if (described_.size() > kMaxModels) described_.clear();
  Described& known = described_[model->asked()];
  if (known.model != model) known = {model, DigestOfDescription(*model)};
  return known.digest;
}

}  // namespace inferpool::predict
