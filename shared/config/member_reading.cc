#include "shared/config/member_reading.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>

#include <algorithm>
#include <utility>

#include "shared/base/utf8.h"

namespace inferpool {
namespace {

constexpr std::size_t kMostTexts = 1'000;
constexpr unsigned kLeastCorners = 3;
constexpr unsigned kMostCorners = 64;
constexpr double kThin = 1e-6;

// The lengths, in sum, of what lies in the polygon of the horizontal line at y.
double LengthAt(const Polygon& polygon, double y) {
  std::vector<double> crossings;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const PolygonPoint& a = polygon[i];
    const PolygonPoint& b = polygon[(i + 1) % polygon.size()];
    if ((a.y > y) != (b.y > y)) crossings.push_back(a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x));
  }
  std::ranges::sort(crossings);
  double length = 0;
  for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
    length += crossings[i + 1] - crossings[i];
  }
  return length;
}

// Whether something lies in the polygon. Between the heights of two corners all edges are straight:
// two lines there tell, as edges may cross at one of them.
bool HasArea(const Polygon& polygon) {
  std::vector<double> heights;
  for (const PolygonPoint& corner : polygon) heights.push_back(corner.y);
  std::ranges::sort(heights);
  for (std::size_t i = 0; i + 1 < heights.size(); ++i) {
    const double height = heights[i + 1] - heights[i];
    if (height < kThin) continue;
    for (const double at : {0.5, 0.3}) {
      if (LengthAt(polygon, heights[i] + at * height) > kThin) return true;
    }
  }
  return false;
}

}  // namespace

bool IsPlainText(std::string_view text, std::size_t most) {
  return text.size() <= most && IsUtf8(text) && std::ranges::none_of(text, [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

bool ReadText(const Json::Value& value, std::size_t most, std::string& text) {
  if (!value.isString() || !IsPlainText(value.asString(), most)) return false;
  text = value.asString();
  return true;
}

bool ReadTexts(const Json::Value& value, std::size_t most, std::vector<std::string>& texts) {
  if (!value.isArray() || value.size() > kMostTexts) return false;
  std::vector<std::string> read;
  for (const Json::Value& item : value) {
    if (!ReadText(item, most, read.emplace_back()) || read.back().empty()) return false;
  }
  texts = std::move(read);
  return true;
}

bool ReadBoolean(const Json::Value& value, bool& is) {
  if (!value.isBool()) return false;
  is = value.asBool();
  return true;
}

bool ReadWhole(const Json::Value& value, int min, int max, int& number) {
  if (!value.isInt() || value.isBool() || value.asInt() < min || value.asInt() > max) return false;
  number = value.asInt();
  return true;
}

bool ReadNumber(const Json::Value& value, double min, double max, double& number) {
  const bool good =
      value.isNumeric() && !value.isBool() && value.asDouble() >= min && value.asDouble() <= max;
  if (good) number = value.asDouble();
  return good;
}

bool ReadPolygon(const Json::Value& value, Polygon& polygon) {
  if (!value.isArray() || value.size() < kLeastCorners || value.size() > kMostCorners) return false;
  Polygon read;
  for (const Json::Value& corner : value) {
    PolygonPoint at;
    const bool good = corner.isArray() && corner.size() == 2 &&
                      ReadNumber(corner[0U], 0, 1, at.x) && ReadNumber(corner[1U], 0, 1, at.y);
    if (!good) return false;
    read.push_back(at);
  }
  if (!HasArea(read)) return false;
  polygon = std::move(read);
  return true;
}

std::string ToJson(const Polygon& polygon) {
  std::vector<std::string> corners;
  corners.reserve(polygon.size());
  for (const PolygonPoint& at : polygon) corners.push_back(fmt::format("[{}, {}]", at.x, at.y));
  return fmt::format("[{}]", fmt::join(corners, ", "));
}

}  // namespace inferpool
