#include "ops/rules/answer.h"

#include <json/value.h>

#include <algorithm>
#include <charconv>

#include "shared/base/strict_json.h"

namespace inferpool::rules {
namespace {

constexpr std::string_view kGood = "200";
constexpr int kDepth = 32;
constexpr std::size_t kMostValues = 1'000'000;
// No box in pixels is of use that ends before it.
constexpr double kTooSmallForPixels = 2;

std::int64_t ToNumber(std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.begin(), text.end(), number);
  return std::max<std::int64_t>(number, 0);
}

double Number(const Json::Value& value) {
  return value.isNumeric() ? value.asDouble() : 0;
}

std::optional<Finding> FindingOf(const Json::Value& item) {
  if (!item.isObject() || !item["class_name"].isString()) return std::nullopt;
  Finding finding{.class_name = item["class_name"].asString(),
                  .confidence = Number(item["confidence"])};
  if (const Json::Value& box = item["box"]; box.isObject()) {
    finding.box = Box{.x1 = Number(box["x1"]),
                      .y1 = Number(box["y1"]),
                      .x2 = Number(box["x2"]),
                      .y2 = Number(box["y2"])};
  }
  return finding;
}

}  // namespace

std::optional<Answer> ParseAnswer(std::string_view entry, std::span<const Field> fields) {
  const auto field = [&](std::string_view name) {
    const auto found = std::ranges::find(fields, name, &Field::first);
    return found == fields.end() ? std::string_view() : found->second;
  };
  const std::string_view json = field("json");
  const bool may_have_findings =
      field("status") == kGood && (json.find("\"detections\"") != std::string_view::npos ||
                                   json.find("\"classes\"") != std::string_view::npos);
  if (field("camera").empty() || !may_have_findings) return std::nullopt;
  const std::string_view seq = field("seq");
  const bool is_number = !seq.empty() && seq.size() < 19 &&
                         std::ranges::all_of(seq, [](char c) { return c >= '0' && c <= '9'; }) &&
                         (seq == "0" || seq.front() != '0');
  return Answer{.entry = std::string(entry),
                .at_ms = ToNumber(entry),
                .camera = std::string(field("camera")),
                .frame = std::string(field("frame")),
                .seq = is_number ? std::string(seq) : "",
                .captured_ms = ToNumber(field("captured")),
                .answered_ms = ToNumber(field("answered")),
                .json = std::string(json)};
}

std::vector<Finding> FindingsOf(std::string_view json) {
  const auto answer = ReadStrictJson(json, kDepth, kMostValues);
  if (!answer.ok() || !answer->isObject()) return {};
  std::vector<Finding> findings;
  for (const char* list : {"detections", "classes"}) {
    const Json::Value& items = (*answer)[list];
    if (!items.isArray()) continue;
    for (const Json::Value& item : items) {
      if (auto finding = FindingOf(item)) findings.push_back(*std::move(finding));
    }
  }
  double largest = 0;
  for (const Finding& finding : findings) {
    if (finding.box) largest = std::max({largest, finding.box->x2, finding.box->y2});
  }
  if (largest < kTooSmallForPixels) return findings;
  const Json::Value& image = (*answer)["image"];
  const double width = image.isObject() ? Number(image["width"]) : 0;
  const double height = image.isObject() ? Number(image["height"]) : 0;
  for (Finding& finding : findings) {
    if (!finding.box) continue;
    if (width <= 0 || height <= 0) {
      finding.box.reset();  // nobody knows where it is
      continue;
    }
    Box& box = *finding.box;
    box = {
        .x1 = box.x1 / width, .y1 = box.y1 / height, .x2 = box.x2 / width, .y2 = box.y2 / height};
  }
  return findings;
}

}  // namespace inferpool::rules
