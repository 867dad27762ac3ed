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
  const Prediction& prediction;
  bool normalized;
  std::string& json;

  void operator()(const vision::Detections& detections) const {
    const int digits = normalized ? 6 : 2;
    json += R"("detections":[)";
    for (const vision::Detection& found : detections) {
      fmt::format_to(
          std::back_inserter(json),
          R"({}{{"box":{{"x1":{:.{}f},"y1":{:.{}f},"x2":{:.{}f},"y2":{:.{}f}}},"confidence":{:.4f},"class_id":{},"class_name":{})",
          Comma(), X(found.x1), digits, Y(found.y1), digits, X(found.x2), digits, Y(found.y2),
          digits, found.confidence, found.class_id,
          ClassName(prediction.model->description.class_names, found.class_id));
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
                     score.confidence, score.class_id,
                     ClassName(prediction.model->description.class_names, score.class_id));
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
    return normalized ? static_cast<double>(x) / prediction.picture.width : static_cast<double>(x);
  }
  double Y(float y) const {
    return normalized ? static_cast<double>(y) / prediction.picture.height : static_cast<double>(y);
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

std::string Members(const Prediction& prediction, bool normalized) {
  std::string json =
      fmt::format(R"("model":{{"name":{},"version":{}}},"image":{{"width":{},"height":{}}},)",
                  QuotedJson(prediction.model->description.name), QuotedJson(prediction.version),
                  prediction.picture.width, prediction.picture.height);
  if (prediction.tiles != vision::TileGrid()) {
    fmt::format_to(std::back_inserter(json), R"("tiles":"{}x{}",)", prediction.tiles.columns,
                   prediction.tiles.rows);
  }
  std::visit(Writer{prediction, normalized, json}, prediction.result);
  return json;
}

std::string Complete(std::string_view members, const http::StageTimes& times,
                     std::string_view request_id) {
  return fmt::format("{{{},\"timing_ms\":{},\"request_id\":{}}}\n", members, times.Json(),
                     QuotedJson(request_id));
}

}  // namespace inferpool::predict
