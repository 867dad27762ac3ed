#include "shared/config/streams_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/base/priority.h"
#include "shared/config/member_reading.h"
#include "shared/config/motion_key.h"

namespace inferpool {
namespace {

constexpr std::size_t kMaxCameras = 100'000;
constexpr std::size_t kMaxName = 128;
constexpr std::size_t kMaxText = 1'024;
constexpr int kMaxAgeMs = 86'400'000;
constexpr double kMaxRate = 10'000;

// A member of a camera: how it is read, and what is allowed.
bool SetText(const Json::Value& value, std::string& text) {
  return ReadText(value, kMaxText, text);
}

bool SetWord(const Json::Value& value, std::span<const std::string_view> words, std::string& text) {
  if (!value.isString() || std::ranges::find(words, value.asString()) == words.end()) return false;
  text = value.asString();
  return true;
}

// What is wrong; empty when it is good.
std::string SetMember(const std::string& member, const Json::Value& value, Config::Camera& camera) {
  if (member == "model") return SetText(value, camera.model) ? "" : "allowed is a model's name";
  if (member == "parameters") {
    return SetText(value, camera.parameters) ? "" : "allowed is a text such as confidence=0.4";
  }
  if (member == "policy") {
    return SetWord(value, kStreamPolicies, camera.policy)
               ? ""
               : fmt::format("allowed is one of {}", fmt::join(kStreamPolicies, ", "));
  }
  if (member == "priority") {
    return SetWord(value, kPriorityNames, camera.priority)
               ? ""
               : fmt::format("allowed is one of {}", fmt::join(kPriorityNames, ", "));
  }
  if (member == "results") {
    return SetWord(value, kStreamResults, camera.results)
               ? ""
               : fmt::format("allowed is one of {}", fmt::join(kStreamResults, ", "));
  }
  if (member == "max_age_ms") {
    return ReadWhole(value, 0, kMaxAgeMs, camera.max_age_ms.emplace())
               ? ""
               : fmt::format("allowed is a whole number from 0 to {}", kMaxAgeMs);
  }
  if (member == "rate") {
    return ReadNumber(value, 0, kMaxRate, camera.rate)
               ? ""
               : fmt::format("allowed is a number from 0 to {}", kMaxRate);
  }
  return "is unknown; a camera has model, parameters, policy, max_age_ms, rate, priority, "
         "results and motion";
}

}  // namespace

std::vector<MemberProblem> ReadCameras(const Json::Value& object, Config::Cameras& cameras) {
  std::vector<MemberProblem> problems;
  cameras.clear();
  const auto add = [&](const Json::Value& value, std::string key, std::string message) {
    problems.push_back({value.getOffsetStart(), std::move(key), std::move(message)});
  };
  if (object.size() > kMaxCameras) {
    add(object, "streams.cameras",
        fmt::format("names {} cameras, allowed are {}", object.size(), kMaxCameras));
    return problems;
  }
  for (const std::string& id : object.getMemberNames()) {
    const Json::Value& value = object[id];
    const std::string key = "streams.cameras." + id;
    if (id.empty() || !IsPlainText(id, kMaxName)) {
      add(value, "streams.cameras",
          fmt::format("has a name that no camera can have: it has 1 to {} bytes of text",
                      kMaxName));
    } else if (!value.isObject()) {
      add(value, key, "allowed is an object { ... }");
    } else {
      Config::Camera& camera = cameras[id];
      for (const std::string& member : value.getMemberNames()) {
        if (member == "motion") {
          auto wrong = ReadMotion(value[member], fmt::format("{}.motion", key), camera.motion);
          std::ranges::move(wrong, std::back_inserter(problems));
          continue;
        }
        std::string problem = SetMember(member, value[member], camera);
        if (!problem.empty()) {
          add(value[member], fmt::format("{}.{}", key, member), std::move(problem));
        }
      }
    }
  }
  return problems;
}

std::vector<MemberProblem> ReadFields(const Json::Value& object, Config::Fields& fields) {
  std::vector<MemberProblem> problems;
  fields.clear();
  for (const std::string& member : object.getMemberNames()) {
    const Json::Value& value = object[member];
    const std::string key = "streams.fields." + member;
    if (std::ranges::find(kStreamFields, member) == kStreamFields.end()) {
      problems.push_back(
          {value.getOffsetStart(), key,
           fmt::format("is unknown; allowed are {}", fmt::join(kStreamFields, ", "))});
    } else if (!value.isString() || value.asString().empty() ||
               !IsPlainText(value.asString(), kMaxName)) {
      problems.push_back({value.getOffsetStart(), key, "allowed is the name of a field"});
    } else {
      fields[member] = value.asString();
    }
  }
  return problems;
}

std::string ToJson(const Config::Cameras& cameras) {
  std::vector<std::string> items;
  for (const auto& [id, camera] : cameras) {
    std::vector<std::string> members;
    const auto text = [&](std::string_view name, const std::string& value) {
      if (!value.empty()) members.push_back(fmt::format("\"{}\": {}", name, QuotedJson(value)));
    };
    text("model", camera.model);
    text("parameters", camera.parameters);
    text("policy", camera.policy);
    if (camera.max_age_ms) {
      members.push_back(fmt::format(R"("max_age_ms": {})", *camera.max_age_ms));
    }
    if (camera.rate > 0) members.push_back(fmt::format(R"("rate": {})", camera.rate));
    text("priority", camera.priority);
    text("results", camera.results);
    if (std::string motion = ToJson(camera.motion); motion != "{}") {
      members.push_back(fmt::format(R"("motion": {})", motion));
    }
    items.push_back(fmt::format("{}: {{{}}}", QuotedJson(id), fmt::join(members, ", ")));
  }
  return fmt::format("{{{}}}", fmt::join(items, ", "));
}

std::string ToJson(const Config::Fields& fields) {
  std::vector<std::string> items;
  for (const auto& [member, name] : fields) {
    items.push_back(fmt::format("{}: {}", QuotedJson(member), QuotedJson(name)));
  }
  return fmt::format("{{{}}}", fmt::join(items, ", "));
}

}  // namespace inferpool
