#include "shared/config/motion_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>

#include <utility>

#include "shared/config/member_reading.h"

namespace inferpool {
namespace {

constexpr unsigned kMostMasks = 32;
constexpr double kLeastKeyframe = 0.1;
constexpr double kMostKeyframe = 3'600;

bool ReadMasks(const Json::Value& value, std::vector<Polygon>& masks) {
  if (!value.isArray() || value.size() > kMostMasks) return false;
  for (const Json::Value& mask : value) {
    if (!ReadPolygon(mask, masks.emplace_back())) return false;
  }
  return true;
}

// What is wrong; empty when it is good.
std::string SetMember(const std::string& member, const Json::Value& value, Config::Motion& motion) {
  if (member == "enabled") {
    return ReadBoolean(value, motion.enabled.emplace()) ? "" : "allowed is true or false";
  }
  if (member == "threshold") {
    return ReadWhole(value, 1, 255, motion.threshold.emplace())
               ? ""
               : "allowed is a whole number from 1 to 255";
  }
  if (member == "area") {
    return ReadNumber(value, 0, 1, motion.area.emplace()) ? "" : "allowed is a number from 0 to 1";
  }
  if (member == "keyframe_s") {
    return ReadNumber(value, kLeastKeyframe, kMostKeyframe, motion.keyframe_s.emplace())
               ? ""
               : fmt::format("allowed is a number from {} to {}", kLeastKeyframe, kMostKeyframe);
  }
  if (member == "masks") {
    return ReadMasks(value, motion.masks.emplace())
               ? ""
               : fmt::format(
                     "allowed are at most {} polygons [[x, y], [x, y], [x, y], ...] of 3 to "
                     "64 corners between 0 and 1, each with an area",
                     kMostMasks);
  }
  return "is unknown; motion has enabled, threshold, area, keyframe_s and masks";
}

}  // namespace

std::vector<MemberProblem> ReadMotion(const Json::Value& object, const std::string& key,
                                      Config::Motion& motion) {
  motion = {};
  if (!object.isObject()) {
    return {{object.getOffsetStart(), key, "allowed is an object { ... }"}};
  }
  std::vector<MemberProblem> problems;
  for (const std::string& member : object.getMemberNames()) {
    const Json::Value& value = object[member];
    std::string problem = SetMember(member, value, motion);
    if (problem.empty()) continue;
    problems.push_back(
        {value.getOffsetStart(), fmt::format("{}.{}", key, member), std::move(problem)});
  }
  return problems;
}

std::string ToJson(const Config::Motion& motion) {
  std::vector<std::string> members;
  if (motion.enabled) members.push_back(fmt::format(R"("enabled": {})", *motion.enabled));
  if (motion.threshold) members.push_back(fmt::format(R"("threshold": {})", *motion.threshold));
  if (motion.area) members.push_back(fmt::format(R"("area": {})", *motion.area));
  if (motion.keyframe_s) members.push_back(fmt::format(R"("keyframe_s": {})", *motion.keyframe_s));
  if (motion.masks) {
    std::vector<std::string> masks;
    for (const Polygon& mask : *motion.masks) masks.push_back(ToJson(mask));
    members.push_back(fmt::format(R"("masks": [{}])", fmt::join(masks, ", ")));
  }
  return fmt::format("{{{}}}", fmt::join(members, ", "));
}

}  // namespace inferpool
