#include "worker/predict/agreement.h"

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <variant>

namespace inferpool::predict {
namespace {

constexpr float kOneThing = 0.5F;

std::string ClassOf(const std::vector<std::string>& names, int class_id) {
  const auto index = static_cast<std::size_t>(class_id);
  return index < names.size() && !names[index].empty() ? names[index] : std::to_string(class_id);
}

float Overlap(const vision::Detection& a, const vision::Detection& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const float both = width * height;
  const float all = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - both;
  return all <= 0 ? 0 : both / all;
}

Agreement Counted(std::uint64_t matched, std::size_t primary, std::size_t shadow) {
  return {.matched = matched, .only_primary = primary - matched, .only_shadow = shadow - matched};
}

Agreement CompareBoxes(const vision::Detections& primary, const vision::Detections& shadow,
                       const std::vector<std::string>& primary_names,
                       const std::vector<std::string>& shadow_names) {
  std::vector<std::tuple<float, std::size_t, std::size_t>> pairs;
  for (std::size_t i = 0; i < primary.size(); ++i) {
    const std::string name = ClassOf(primary_names, primary[i].class_id);
    for (std::size_t j = 0; j < shadow.size(); ++j) {
      const float overlap = Overlap(primary[i], shadow[j]);
      if (overlap >= kOneThing && name == ClassOf(shadow_names, shadow[j].class_id)) {
        pairs.emplace_back(-overlap, i, j);
      }
    }
  }
  std::ranges::sort(pairs);
  std::vector<bool> primary_taken(primary.size());
  std::vector<bool> shadow_taken(shadow.size());
  std::uint64_t matched = 0;
  for (const auto& [overlap, i, j] : pairs) {
    if (primary_taken[i] || shadow_taken[j]) continue;
    primary_taken[i] = shadow_taken[j] = true;
    ++matched;
  }
  return Counted(matched, primary.size(), shadow.size());
}

Agreement CompareLines(const vision::TextLines& primary, const vision::TextLines& shadow) {
  std::vector<bool> taken(shadow.size());
  std::uint64_t matched = 0;
  for (const vision::TextLine& line : primary) {
    for (std::size_t j = 0; j < shadow.size(); ++j) {
      if (taken[j] || shadow[j].text != line.text) continue;
      taken[j] = true;
      ++matched;
      break;
    }
  }
  return Counted(matched, primary.size(), shadow.size());
}

// The best class, if there is one.
std::vector<std::string> Best(const vision::Classification& found,
                              const std::vector<std::string>& names) {
  if (found.scores.empty()) return {};
  return {ClassOf(names, found.scores.front().class_id)};
}

}  // namespace

Agreement Compare(const Named& primary, const Named& shadow) {
  if (const auto* boxes = std::get_if<vision::Detections>(&primary.result)) {
    const auto* others = std::get_if<vision::Detections>(&shadow.result);
    if (others == nullptr) return {};
    return CompareBoxes(*boxes, *others, primary.class_names, shadow.class_names);
  }
  if (const auto* lines = std::get_if<vision::TextLines>(&primary.result)) {
    const auto* others = std::get_if<vision::TextLines>(&shadow.result);
    return others == nullptr ? Agreement{} : CompareLines(*lines, *others);
  }
  if (const auto* classes = std::get_if<vision::Classification>(&primary.result)) {
    const auto* others = std::get_if<vision::Classification>(&shadow.result);
    if (others == nullptr) return {};
    const auto best = Best(*classes, primary.class_names);
    const auto other = Best(*others, shadow.class_names);
    return Counted(!best.empty() && best == other ? 1 : 0, best.size(), other.size());
  }
  return {};
}

}  // namespace inferpool::predict
