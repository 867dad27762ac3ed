#include "shared/config/rules_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/config/member_reading.h"

namespace inferpool {
namespace {

constexpr std::size_t kMostName = 64;
constexpr std::size_t kMostCameraId = 128;
constexpr std::size_t kMostClassName = 256;
constexpr std::size_t kMostUrl = 2'048;
constexpr int kMostHoldOff = 604'800;

// It stands in headers, keys of Redis and metrics.
bool IsRuleName(std::string_view name) {
  return !name.empty() && name.size() <= kMostName && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

// Of printable ASCII, with a host that no user stands before: a log may show it.
bool IsUrl(std::string_view url) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (!url.starts_with(scheme)) continue;
    const std::string_view host =
        url.substr(scheme.size(), url.find_first_of("/?#", scheme.size()) - scheme.size());
    return url.size() <= kMostUrl && !host.empty() && host.find('@') == std::string_view::npos &&
           std::ranges::all_of(url, [](char c) { return c > 0x20 && c < 0x7f; });
  }
  return false;
}

// What is wrong; empty when it is good.
std::string SetMember(const std::string& member, const Json::Value& value,
                      const std::string& folder, Config::Rule& rule) {
  if (member == "cameras") {
    return ReadTexts(value, kMostCameraId, rule.cameras) ? "" : "allowed is a list of cameras' ids";
  }
  if (member == "classes") {
    return ReadTexts(value, kMostClassName, rule.classes) ? ""
                                                          : "allowed is a list of classes' names";
  }
  if (member == "min_confidence") {
    return ReadNumber(value, 0, 1, rule.min_confidence) ? "" : "allowed is a number from 0 to 1";
  }
  if (member == "zone") {
    return ReadPolygon(value, rule.zone)
               ? ""
               : "allowed is a polygon [[x, y], [x, y], [x, y], ...] of 3 to 64 corners between 0 "
                 "and 1, with an area";
  }
  if (member == "hold_off_s") {
    return ReadWhole(value, 0, kMostHoldOff, rule.hold_off_s)
               ? ""
               : fmt::format("allowed is a whole number from 0 to {}", kMostHoldOff);
  }
  if (member == "url") {
    return value.isString() && IsUrl(value.asString()) && ReadText(value, kMostUrl, rule.url)
               ? ""
               : "allowed is https://... or http://... without a user's name";
  }
  if (member == "secret_file") {
    if (!ReadText(value, kMostUrl, rule.secret_file) || rule.secret_file.empty()) {
      return "allowed is a path";
    }
    rule.secret_file = std::filesystem::absolute(std::filesystem::path(folder) / rule.secret_file)
                           .lexically_normal();
    return "";
  }
  return "is unknown; a rule has cameras, classes, min_confidence, zone, hold_off_s, url and "
         "secret_file";
}

}  // namespace

std::vector<MemberProblem> ReadRules(const Json::Value& object, const std::string& folder,
                                     Config::Rules& rules) {
  std::vector<MemberProblem> problems;
  rules.clear();
  const auto add = [&](const Json::Value& value, std::string key, std::string message) {
    problems.push_back({value.getOffsetStart(), std::move(key), std::move(message)});
  };
  if (object.size() > kMaxRules) {
    add(object, "streams.rules",
        fmt::format("has {} rules, allowed are {}", object.size(), kMaxRules));
    return problems;
  }
  for (const std::string& name : object.getMemberNames()) {
    const Json::Value& value = object[name];
    const std::string key = "streams.rules." + name;
    if (!IsRuleName(name)) {
      add(value, "streams.rules",
          fmt::format("has a name that no rule can have: it has 1 to {} letters, digits, '.', '-' "
                      "and '_'",
                      kMostName));
      continue;
    }
    if (!value.isObject()) {
      add(value, key, "allowed is an object { ... }");
      continue;
    }
    Config::Rule& rule = rules[name];
    for (const std::string& member : value.getMemberNames()) {
      std::string problem = SetMember(member, value[member], folder, rule);
      if (!problem.empty()) {
        add(value[member], fmt::format("{}.{}", key, member), std::move(problem));
      }
    }
    for (const char* member : {"url", "secret_file"}) {
      if (!value.isMember(member)) add(value, key, fmt::format("has no {}", member));
    }
  }
  return problems;
}

std::string ToJson(const Config::Rules& rules) {
  const Config::Rule usual;
  std::vector<std::string> items;
  for (const auto& [name, rule] : rules) {
    std::vector<std::string> members;
    const auto list = [&](std::string_view member, const std::vector<std::string>& texts) {
      if (texts.empty()) return;
      std::vector<std::string> quoted;
      quoted.reserve(texts.size());
      for (const std::string& text : texts) quoted.push_back(QuotedJson(text));
      members.push_back(fmt::format("\"{}\": [{}]", member, fmt::join(quoted, ", ")));
    };
    list("cameras", rule.cameras);
    list("classes", rule.classes);
    if (rule.min_confidence != usual.min_confidence) {
      members.push_back(fmt::format(R"("min_confidence": {})", rule.min_confidence));
    }
    if (!rule.zone.empty()) members.push_back(fmt::format(R"("zone": {})", ToJson(rule.zone)));
    if (rule.hold_off_s != usual.hold_off_s) {
      members.push_back(fmt::format(R"("hold_off_s": {})", rule.hold_off_s));
    }
    members.push_back(fmt::format(R"("url": {})", QuotedJson(rule.url)));
    members.push_back(fmt::format(R"("secret_file": {})", QuotedJson(rule.secret_file)));
    items.push_back(fmt::format("{}: {{{}}}", QuotedJson(name), fmt::join(members, ", ")));
  }
  return fmt::format("{{{}}}", fmt::join(items, ", "));
}

}  // namespace inferpool
