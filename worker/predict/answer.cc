#include "worker/predict/answer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>
#include <string_view>
#include <vector>

#include "shared/base/json_text.h"

namespace inferpool::predict {
namespace {

// The class's name; its number where the model names none.
std::string ClassName(const std::vector<std::string>& names, int class_id) {
  const auto index = static_cast<std::size_t>(class_id);
  const bool has_name = index < names.size() && !names[index].empty();
  return QuotedJson(has_name ? names[index] : fmt::format("{}", class_id));
}

struct Writer {
  cv::Size picture;
  bool normalized;
  std::string& json;
  const std::vector<std::string>& class_names;
  const std::vector<std::vector<Found>>* below = nullptr;  // for each detection

  void operator()(const vision::Detections& detections) const {
    const int digits = normalized ? 6 : 2;
    json += R"("detections":[)";
    for (std::size_t i = 0; i < detections.size(); ++i) {
      const vision::Detection& found = detections[i];
      fmt::format_to(
          std::back_inserter(json),
          R"({}{{"box":{{"x1":{:.{}f},"y1":{:.{}f},"x2":{:.{}f},"y2":{:.{}f}}},"confidence":{:.4f},"class_id":{},"class_name":{})",
          Comma(), X(found.x1), digits, Y(found.y1), digits, X(found.x2), digits, Y(found.y2),
          digits, found.confidence, found.class_id, ClassName(class_names, found.class_id));
      if (!found.corners.empty()) {
        json += R"(,"corners":)";
        Write(found.corners);
      }
      if (!found.keypoints.empty()) {
        Write(found.keypoints);
      }
      if (!found.mask.empty()) {
        json += R"(,"mask":[)";
        for (const vision::Polygon& polygon : found.mask) {
          json += Comma();
          Write(polygon);
        }
        json += ']';
      }
      if (found.text) {
        fmt::format_to(std::back_inserter(json), R"(,"text":{})", QuotedJson(*found.text));
      }
      if (below != nullptr && i < below->size()) Write((*below)[i]);
      json += '}';
    }
    json += ']';
  }

  void operator()(const vision::TextLines& lines) const {
    json += R"("texts":[)";
    for (const vision::TextLine& line : lines) {
      fmt::format_to(std::back_inserter(json), R"({}{{"text":{},"confidence":{:.4f}}})", Comma(),
                     QuotedJson(line.text), line.confidence);
    }
    json += ']';
  }

  void operator()(const vision::Classification& classification) const {
    json += R"("classes":[)";
    for (const vision::ClassScore& score : classification.scores) {
      fmt::format_to(std::back_inserter(json),
                     R"({}{{"confidence":{:.4f},"class_id":{},"class_name":{}}})", Comma(),
                     score.confidence, score.class_id, ClassName(class_names, score.class_id));
    }
    json += ']';
  }

  void operator()(const vision::Embedding& embedding) const {
    fmt::format_to(std::back_inserter(json), R"("embedding":[{}])",
                   fmt::join(embedding.values, ","));
  }

  // What comes before the next item of the list that was begun last.
  std::string_view Comma() const { return json.back() == '[' ? "" : ","; }

  // One coordinate, as the boxes' are.
  double X(float x) const {
    return normalized ? static_cast<double>(x) / picture.width : static_cast<double>(x);
  }
  double Y(float y) const {
    return normalized ? static_cast<double>(y) / picture.height : static_cast<double>(y);
  }

  // [[x,y],[x,y]]
  void Write(const std::vector<vision::Point>& points) const {
    const int digits = normalized ? 6 : 2;
    json += '[';
    for (const vision::Point& at : points) {
      fmt::format_to(std::back_inserter(json), "{}[{:.{}f},{:.{}f}]", Comma(), X(at.x), digits,
                     Y(at.y), digits);
    }
    json += ']';
  }

  void Write(const std::vector<Found>& found_by_steps) const {
    if (found_by_steps.empty()) return;
    json += R"(,"found":{)";
    for (const Found& found : found_by_steps) {
      fmt::format_to(std::back_inserter(json), "{}{}:{{", json.back() == '{' ? "" : ",",
                     QuotedJson(found.step));
      if (found.turned) fmt::format_to(std::back_inserter(json), R"("turned":{},)", *found.turned);
      std::visit(
          Writer{picture, normalized, json, found.model->description.class_names, &found.found},
          found.result);
      json += '}';
    }
    json += '}';
  }

  void Write(const std::vector<vision::Keypoint>& keypoints) const {
    const int digits = normalized ? 6 : 2;
    json += R"(,"keypoints":[)";
    for (const vision::Keypoint& at : keypoints) {
      fmt::format_to(std::back_inserter(json),
                     R"({}{{"x":{:.{}f},"y":{:.{}f},"confidence":{:.4f}}})", Comma(), X(at.x),
                     digits, Y(at.y), digits, at.confidence);
    }
    json += ']';
  }
};

}  // namespace

std::string ModelJson(const Prediction& prediction) {
  if (!prediction.pipeline) {
    return fmt::format(R"({{"name":{},"version":{}}})",
                       QuotedJson(prediction.model->description.name),
                       QuotedJson(prediction.version));
  }
  std::vector<std::string> steps;
  for (const auto& [model, version] : prediction.pipeline->steps) {
    steps.push_back(
        fmt::format(R"({{"name":{},"version":{}}})", QuotedJson(model), QuotedJson(version)));
  }
  return fmt::format(R"({{"name":{},"version":"","steps":[{}]}})",
                     QuotedJson(prediction.pipeline->name), fmt::join(steps, ","));
}

std::string ResultMembers(const Prediction& prediction, bool normalized) {
  std::string json;
  if (prediction.tiles != vision::TileGrid()) {
    json = fmt::format(R"("tiles":"{}x{}",)", prediction.tiles.columns, prediction.tiles.rows);
  }
  const auto* below = prediction.pipeline ? &prediction.pipeline->found : nullptr;
  std::visit(Writer{prediction.picture, normalized, json, prediction.model->description.class_names,
                    below},
             prediction.result);
  return json;
}

std::string Members(const Prediction& prediction, bool normalized) {
  return fmt::format(R"("model":{},"image":{{"width":{},"height":{}}},{})", ModelJson(prediction),
                     prediction.picture.width, prediction.picture.height,
                     ResultMembers(prediction, normalized));
}

std::string Complete(std::string_view members, const http::StageTimes& times,
                     std::string_view request_id, std::string_view route) {
  return fmt::format("{{{}{},\"timing_ms\":{},\"request_id\":{}}}\n", members, route, times.Json(),
                     QuotedJson(request_id));
}

std::uint64_t CountOf(const vision::Result& result) {
  struct Counter {
    std::uint64_t operator()(const vision::Detections& found) const { return found.size(); }
    std::uint64_t operator()(const vision::TextLines& lines) const { return lines.size(); }
    std::uint64_t operator()(const vision::Classification& found) const {
      return found.scores.size();
    }
    std::uint64_t operator()(const vision::Embedding&) const { return 1; }
  };
  return std::visit(Counter{}, result);
}

}  // namespace inferpool::predict
