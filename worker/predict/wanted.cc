#include "worker/predict/wanted.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/base/ascii.h"
#include "shared/base/utf8.h"

namespace inferpool::predict {
namespace {

using http::BadParameter;
using http::Problem;

// The classes of a model, by name and by number.
class Classes {
 public:
  explicit Classes(const backend::Model& model)
      : names_(model.description.class_names),
        count_(names_.empty() ? model.plan->classes : names_.size()) {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (names_[i].empty()) continue;
      ids_.emplace(names_[i], static_cast<int>(i));
      most_commas_ = std::max(most_commas_, std::ranges::count(names_[i], ','));
    }
  }

  // Those of that name: some lists have a name twice. Empty: there is no such class.
  std::vector<int> Find(std::string_view name) const {
    std::vector<int> found;
    const auto [first, last] = ids_.equal_range(name);
    std::transform(first, last, std::back_inserter(found),
                   [](const auto& id) { return id.second; });
    if (!found.empty()) return found;
    int number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size()) return {};
    const bool known =
        number >= 0 && number < kMost && (count_ == 0 || static_cast<std::size_t>(number) < count_);
    return known ? std::vector{number} : std::vector<int>();
  }

  // Removes the first item of a list with commas, and returns its classes. Empty: there is no such
  // class, and `list` is as it was.
  std::vector<int> TakeFirst(std::string_view& list) const {
    std::vector<int> found;
    std::string_view behind;
    std::size_t comma = 0;
    for (std::ptrdiff_t commas = 0; commas <= most_commas_ && comma != list.npos; ++commas) {
      comma = list.find(',', commas == 0 ? 0 : comma + 1);
      if (auto ids = Find(Trim(list.substr(0, comma), " ")); !ids.empty()) {
        found = std::move(ids);
        behind = comma == list.npos ? std::string_view() : list.substr(comma + 1);
      }
    }
    if (!found.empty()) list = behind;
    return found;
  }

  // What there is, briefly.
  std::string Text() const {
    constexpr std::size_t kShown = 10;
    if (names_.empty()) {
      return count_ == 0 ? "its classes have numbers from 0"
                         : fmt::format("its classes are 0 to {}", count_ - 1);
    }
    std::string text = "its classes are ";
    for (std::size_t i = 0; i < std::min(names_.size(), kShown); ++i) {
      text += fmt::format("{}{}", i == 0 ? "" : ", ", Utf8Text(names_[i], 100));
    }
    if (names_.size() > kShown) text += fmt::format(", ... ({} in all)", names_.size());
    return text + fmt::format(", or their numbers, 0 to {}", names_.size() - 1);
  }

 private:
  static constexpr int kMost = 1 << 20;  // as in worker/vision/families/boxes.cc

  const std::vector<std::string>& names_;
  const std::size_t count_;  // 0: as many as the answer has
  std::unordered_multimap<std::string_view, int> ids_;
  std::ptrdiff_t most_commas_ = 0;
};

Problem UnknownClass(const std::string& parameter, std::string_view name,
                     const backend::Model& model, const Classes& classes) {
  return BadParameter(
      parameter, fmt::format("{} names \"{}\", which is no class of the model {}; {}", parameter,
                             Utf8Text(name, 100), model.description.name, classes.Text()));
}

struct Answers {
  bool has_things;   // boxes, which lie somewhere in the picture
  bool has_classes;  // of the things, or of the picture
};

Answers AnswersOf(vision::Family family) {
  switch (family) {
    case vision::Family::kClassification:
      return {.has_things = false, .has_classes = true};
    case vision::Family::kEmbedding:
    case vision::Family::kTextLine:
      return {.has_things = false, .has_classes = false};
    default:
      return {.has_things = true, .has_classes = true};
  }
}

// What the model cannot be asked, whatever the picture.
std::optional<Problem> CheckFits(const backend::Model& model,
                                 const http::PredictParameters& parameters, bool one_of_several) {
  const std::string& name = model.description.name;
  const Answers answers = AnswersOf(model.plan->family);
  if (model.plan->input_kind != vision::InputKind::kPixels &&
      (parameters.roi || parameters.tiles)) {
    const std::string parameter = parameters.roi ? "roi" : "tiles";
    return BadParameter(
        parameter, fmt::format("the model {} is sent the picture's file as it is, so it cannot be "
                               "asked about parts of it: cut the part out before, or leave {} away",
                               name, parameter));
  }
  if (parameters.tiles && !answers.has_things) {
    return BadParameter(
        "tiles", fmt::format("tiles are for models that find things in a picture, and {} answers "
                             "for the picture as a whole: leave tiles away, or ask about a part of "
                             "the picture with roi",
                             name));
  }
  if (one_of_several) return std::nullopt;
  if (!parameters.classes.empty() && !answers.has_classes) {
    return BadParameter("classes",
                        fmt::format("the model {} has no classes: leave classes away", name));
  }
  if (!parameters.class_confidence.empty() && !answers.has_things) {
    const std::string parameter = "confidence." + parameters.class_confidence.begin()->first;
    return BadParameter(parameter,
                        fmt::format("thresholds of classes are for models that find things in a "
                                    "picture, which {} does not: leave {} away",
                                    name, Utf8Text(parameter, 100)));
  }
  return std::nullopt;
}

// Calls `take` with the classes of each item of a list with commas, and with where the item begins
// in it. An item that has no class ends at its first comma.
void ForEachItem(const Classes& classes, std::string_view list,
                 const std::function<void(std::size_t at, const std::vector<int>& ids)>& take) {
  for (std::string_view left = list; !left.empty();) {
    const std::size_t at = list.size() - left.size();
    const std::vector<int> ids = classes.TakeFirst(left);
    if (ids.empty()) left.remove_prefix(std::min(left.find(','), left.size() - 1) + 1);
    take(at, ids);
  }
}

Problem EndsInComma() {
  return BadParameter("classes", "classes ends in a comma: name classes with commas between");
}

Problem KnownToNone(const std::string& parameter, std::string_view name) {
  return BadParameter(
      parameter, fmt::format("{} names \"{}\", which is a class of none of the models that are "
                             "asked; GET /v1/models tells the classes of each",
                             Utf8Text(parameter, 100), Utf8Text(name, 100)));
}

// A whole pixel is one in spite of rounding.
constexpr double kRounding = 1e-6;

}  // namespace

std::variant<vision::Options, Problem> OptionsFor(const backend::Model& model,
                                                  const http::PredictParameters& parameters,
                                                  bool one_of_several) {
  if (auto problem = CheckFits(model, parameters, one_of_several)) return *std::move(problem);
  const Answers answers = AnswersOf(model.plan->family);
  vision::Options options{.confidence = static_cast<float>(parameters.confidence),
                          .iou = static_cast<float>(parameters.iou),
                          .max_detections = static_cast<std::size_t>(parameters.max_detections),
                          .class_agnostic = parameters.class_agnostic};
  if (parameters.classes.empty() && parameters.class_confidence.empty()) return options;
  const Classes classes(model);
  if (!parameters.classes.empty() && answers.has_classes) {
    const std::string_view list = parameters.classes;
    if (list.ends_with(',')) return EndsInComma();
    std::set<int>& wanted = options.classes.emplace();
    std::optional<std::size_t> unknown;
    ForEachItem(classes, list, [&](std::size_t at, const std::vector<int>& ids) {
      if (ids.empty() && !unknown) unknown = at;
      wanted.insert(ids.begin(), ids.end());
    });
    if (unknown && !one_of_several) {
      const std::string_view left = list.substr(*unknown);
      return UnknownClass("classes", left.substr(0, left.find(',')), model, classes);
    }
  }
  if (!answers.has_things) return options;
  for (const auto& [name, confidence] : parameters.class_confidence) {
    const std::vector<int> ids = classes.Find(name);
    if (ids.empty() && !one_of_several) {
      return UnknownClass("confidence." + name, name, model, classes);
    }
    for (const int id : ids) {
      if (options.class_confidence.try_emplace(id, static_cast<float>(confidence)).second) continue;
      const std::string parameter = "confidence." + name;
      return BadParameter(parameter,
                          fmt::format("{} is about the class {}, which another threshold "
                                      "is about, too: give one",
                                      Utf8Text(parameter, 100), id));
    }
  }
  return options;
}

std::optional<Problem> CheckClasses(
    const std::vector<std::shared_ptr<const backend::Model>>& models,
    const http::PredictParameters& parameters) {
  if (models.empty()) return std::nullopt;
  const std::string_view list = parameters.classes;
  if (list.ends_with(',')) return EndsInComma();
  // Where items begin that have been a class of none so far: of the first model all of them.
  std::optional<std::set<std::size_t>> unknown;
  std::set<std::string_view> thresholds;
  for (const auto& [name, confidence] : parameters.class_confidence) thresholds.insert(name);
  for (const std::shared_ptr<const backend::Model>& model : models) {
    const Answers answers = AnswersOf(model->plan->family);
    if (!answers.has_classes) continue;
    const Classes classes(*model);
    std::set<std::size_t> of_this;
    ForEachItem(classes, list, [&](std::size_t at, const std::vector<int>& ids) {
      if (ids.empty() && (!unknown || unknown->contains(at))) of_this.insert(at);
    });
    unknown = std::move(of_this);
    if (!answers.has_things) continue;
    std::erase_if(thresholds,
                  [&classes](std::string_view name) { return !classes.Find(name).empty(); });
  }
  if (!unknown && !list.empty()) {
    return BadParameter("classes",
                        "none of the models that are asked has classes: leave classes "
                        "away");
  }
  if (unknown && !unknown->empty()) {
    const std::string_view left = list.substr(*unknown->begin());
    return KnownToNone("classes", left.substr(0, left.find(',')));
  }
  if (thresholds.empty()) return std::nullopt;
  const std::string name(*thresholds.begin());
  return KnownToNone("confidence." + name, name);
}

std::variant<cv::Rect, Problem> RegionOf(const http::PredictParameters& parameters,
                                         cv::Size picture) {
  const cv::Rect whole({0, 0}, picture);
  if (!parameters.roi) return whole;
  const http::Region& roi = *parameters.roi;
  const bool within_one = std::max(roi.x2, roi.y2) <= 1;
  const bool beyond_two = std::min(roi.x1, roi.y1) < -1 || std::max(roi.x2, roi.y2) > 2;
  const bool has_one_pixel = picture == cv::Size(1, 1);
  if (!parameters.normalized && within_one && !has_one_pixel) {
    return BadParameter("roi",
                        "roi is in pixels, and this one is no larger than the first pixel: if it "
                        "is meant in 0 to 1 of the picture, say coordinates=normalized");
  }
  if (parameters.normalized && beyond_two) {
    return BadParameter("roi",
                        "roi is in 0 to 1 of the picture, as coordinates=normalized says, and this "
                        "one is not: if it is meant in pixels, leave coordinates away");
  }
  const double x = parameters.normalized ? picture.width : 1;
  const double y = parameters.normalized ? picture.height : 1;
  const cv::Point first(static_cast<int>(std::floor(roi.x1 * x + kRounding)),
                        static_cast<int>(std::floor(roi.y1 * y + kRounding)));
  const cv::Point last(std::max(first.x + 1, static_cast<int>(std::ceil(roi.x2 * x - kRounding))),
                       std::max(first.y + 1, static_cast<int>(std::ceil(roi.y2 * y - kRounding))));
  const cv::Rect part = cv::Rect(first, last) & whole;
  if (part.empty()) {
    return BadParameter("roi", fmt::format("roi lies outside of the picture, which has {} x {} "
                                           "pixels as it is seen upright",
                                           picture.width, picture.height));
  }
  return part;
}

vision::TileGrid TilesOf(const http::PredictParameters& parameters, const vision::ModelPlan& plan,
                         const cv::Rect& part, int most) {
  if (!parameters.tiles) return {};
  const http::TileCount& asked = *parameters.tiles;
  const vision::TileGrid grid =
      asked == http::TileCount()
          ? vision::GridFor(part.size(), plan.input, parameters.tile_overlap, most)
          : vision::TileGrid{asked.columns, asked.rows};
  return vision::Sensible(grid, part.size());
}

}  // namespace inferpool::predict
