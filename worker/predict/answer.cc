#include "worker/predict/answer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>
#include <vector>

#include "shared/base/json_text.h"

namespace inferpool::predict {
namespace {

// The class's name; its number where the model names none.
std::string ClassName(const std::vector<std::string>& names, int class_id) {
  const auto index = static_cast<std::size_t>(class_id);
  return QuotedJson(index < names.size() ? names[index] : fmt::format("{}", class_id));
}

struct Writer {
  const Prediction& prediction;
  bool normalized;
  std::string& json;

  void operator()(const vision::Detections& detections) const {
    const double width = normalized ? prediction.picture.width : 1;
    const double height = normalized ? prediction.picture.height : 1;
    const int digits = normalized ? 6 : 2;
    json += R"("detections":[)";
    for (const vision::Detection& found : detections) {
      fmt::format_to(
          std::back_inserter(json),
          R"({}{{"box":{{"x1":{:.{}f},"y1":{:.{}f},"x2":{:.{}f},"y2":{:.{}f}}},"confidence":{:.4f},"class_id":{},"class_name":{}}})",
          json.back() == '[' ? "" : ",", found.x1 / width, digits, found.y1 / height, digits,
          found.x2 / width, digits, found.y2 / height, digits, found.confidence, found.class_id,
          ClassName(prediction.model->description.class_names, found.class_id));
    }
    json += ']';
  }

  void operator()(const vision::Classification& classification) const {
    json += R"("classes":[)";
    for (const vision::ClassScore& score : classification.scores) {
      fmt::format_to(std::back_inserter(json),
                     R"({}{{"confidence":{:.4f},"class_id":{},"class_name":{}}})",
                     json.back() == '[' ? "" : ",", score.confidence, score.class_id,
                     ClassName(prediction.model->description.class_names, score.class_id));
    }
    json += ']';
  }

  void operator()(const vision::Embedding& embedding) const {
    fmt::format_to(std::back_inserter(json), R"("embedding":[{}])",
                   fmt::join(embedding.values, ","));
  }
};

}  // namespace

std::string Members(const Prediction& prediction, bool normalized) {
  std::string json =
      fmt::format(R"("model":{{"name":{},"version":{}}},"image":{{"width":{},"height":{}}},)",
                  QuotedJson(prediction.model->description.name), QuotedJson(prediction.version),
                  prediction.picture.width, prediction.picture.height);
  std::visit(Writer{prediction, normalized, json}, prediction.result);
  return json;
}

std::string Complete(std::string_view members, const http::StageTimes& times,
                     std::string_view request_id) {
  return fmt::format("{{{},\"timing_ms\":{},\"request_id\":{}}}\n", members, times.Json(),
                     QuotedJson(request_id));
}

}  // namespace inferpool::predict
