#include "shared/config/routes_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>
#include <xxhash.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/base/utf8.h"

namespace inferpool {
namespace {

constexpr std::size_t kMaxRoutes = 256;
constexpr std::size_t kMaxName = 255;
constexpr std::size_t kMaxVersion = 64;
constexpr std::size_t kMaxRouteName = 127;  // told apart in metrics (route_counts.h)

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName && IsUtf8(text) &&
         std::ranges::none_of(
             text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool IsVersion(std::string_view text) {
  return !text.empty() && text.size() <= kMaxVersion && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

class Reader {
 public:
  explicit Reader(std::vector<MemberProblem>& problems) : problems_(problems) {}

  Config::Route Read(const std::string& key, const Json::Value& object) {
    Config::Route route;
    bool has_model = false;
    for (const std::string& member : object.getMemberNames()) {
      const Json::Value& value = object[member];
      const std::string name = key + "." + member;
      if (member == "model") {
        has_model = true;
        ReadModel(value, name, route.model);
      } else if (member == "version") {
        ReadVersion(value, name, route.version);
      } else if (member == "canary") {
        ReadCanary(value, name, route.canary);
      } else if (member == "shadow") {
        ReadShadow(value, name, route.shadow);
      } else if (member == "fallback") {
        ReadModel(value, name, route.fallback);
      } else {
        Add(value, name, "is unknown; allowed are model, version, canary, shadow and fallback");
      }
    }
    if (!has_model) Add(object, key, "names no model");
    return route;
  }

  void Add(const Json::Value& value, std::string key, std::string message) {
    problems_.push_back({value.getOffsetStart(), std::move(key), std::move(message)});
  }

 private:
  void ReadModel(const Json::Value& value, const std::string& key, std::string& model) {
    if (value.isString() && IsName(value.asString())) {
      model = value.asString();
    } else {
      Add(value, key, "allowed is a name");
    }
  }

  void ReadVersion(const Json::Value& value, const std::string& key, std::string& version) {
    if (value.isInt64() && !value.isBool() && value.asInt64() >= 0) {
      version = fmt::format("{}", value.asInt64());
    } else if (value.isString() && IsVersion(value.asString())) {
      version = value.asString();
    } else {
      Add(value, key,
          fmt::format("allowed is a whole number from 0 on, or a text of 1 to {} letters, digits, "
                      "'.', '_' and '-'",
                      kMaxVersion));
    }
  }

  void ReadPercent(const Json::Value& value, const std::string& key, double& percent) {
    const bool good =
        value.isNumeric() && !value.isBool() && value.asDouble() >= 0 && value.asDouble() <= 100;
    if (good) {
      percent = value.asDouble();
    } else {
      Add(value, key, "allowed is a number from 0 to 100");
    }
  }

  // What a canary and a shadow have in common. False: it is no such member.
  bool ReadOther(const std::string& member, const Json::Value& value, const std::string& name,
                 std::string& model, std::string& version, double& percent) {
    if (member == "model") {
      ReadModel(value, name, model);
    } else if (member == "version") {
      ReadVersion(value, name, version);
    } else if (member == "percent") {
      ReadPercent(value, name, percent);
    } else {
      return false;
    }
    return true;
  }

  void CheckOther(const Json::Value& object, const std::string& key) {
    if (!object.isMember("model")) Add(object, key, "names no model");
    if (!object.isMember("percent")) {
      Add(object, key, "names no percent, the share of the requests");
    }
  }

  void ReadCanary(const Json::Value& object, const std::string& key,
                  std::optional<Config::Route::Canary>& canary) {
    if (!object.isObject()) {
      Add(object, key, R"(allowed is {"model": ..., "version": ..., "percent": ..., "by": ...})");
      return;
    }
    canary = Config::Route::Canary{};
    for (const std::string& member : object.getMemberNames()) {
      const Json::Value& value = object[member];
      const std::string name = key + "." + member;
      if (ReadOther(member, value, name, canary->model, canary->version, canary->percent)) continue;
      if (member != "by") {
        Add(value, name, "is unknown; allowed are model, version, percent and by");
      } else if (value == "key" || value == "address") {
        canary->by_address = value == "address";
      } else {
        Add(value, name, "allowed is \"key\" or \"address\"");
      }
    }
    CheckOther(object, key);
  }

  void ReadShadow(const Json::Value& object, const std::string& key,
                  std::optional<Config::Route::Shadow>& shadow) {
    if (!object.isObject()) {
      Add(object, key, R"(allowed is {"model": ..., "version": ..., "percent": ...})");
      return;
    }
    shadow = Config::Route::Shadow{};
    for (const std::string& member : object.getMemberNames()) {
      const Json::Value& value = object[member];
      const std::string name = key + "." + member;
      if (!ReadOther(member, value, name, shadow->model, shadow->version, shadow->percent)) {
        Add(value, name, "is unknown; allowed are model, version and percent");
      }
    }
    CheckOther(object, key);
  }

  std::vector<MemberProblem>& problems_;
};

// The names from `name` on, each the fallback of the one before it, when they come back to it.
std::vector<std::string> CircleFrom(const std::string& name, const Config::Routes& routes) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (std::string at = name; seen.insert(at).second;) {
    names.push_back(at);
    const auto route = routes.find(at);
    if (route == routes.end() || route->second.fallback.empty()) return {};
    at = route->second.fallback;
    if (at != name) continue;
    names.push_back(at);
    return names;
  }
  return {};  // the circle is another one's
}

std::string Joined(const std::vector<std::string>& members) {
  return fmt::format("{{{}}}", fmt::join(members, ", "));
}

std::vector<std::string> TargetMembers(const std::string& model, const std::string& version) {
  std::vector<std::string> members = {R"("model": )" + QuotedJson(model)};
  if (version.empty()) return members;
  // As people write it; "007" is another version than 7.
  const bool is_number = version.size() <= 18 && (version == "0" || version.front() != '0') &&
                         std::ranges::all_of(version, [](char c) { return c >= '0' && c <= '9'; });
  members.push_back(R"("version": )" + (is_number ? version : QuotedJson(version)));
  return members;
}

}  // namespace

std::vector<MemberProblem> ReadRoutes(const Json::Value& object, Config::Routes& routes) {
  std::vector<MemberProblem> problems;
  Reader reader(problems);
  routes.clear();
  if (object.size() > kMaxRoutes) {
    reader.Add(object, "routes",
               fmt::format("has {} routes, allowed are {}", object.size(), kMaxRoutes));
    return problems;
  }
  for (const std::string& name : object.getMemberNames()) {
    const Json::Value& value = object[name];
    const std::string key = "routes." + name;
    if (!IsName(name)) {
      reader.Add(value, "routes", "has a name that no model can have");
    } else if (name.find('@') != std::string::npos) {
      reader.Add(value, key, "has an '@' in its name, which stands before a model's version");
    } else if (name.size() > kMaxRouteName) {
      reader.Add(value, key,
                 fmt::format("has a name of {} bytes, allowed are {}", name.size(), kMaxRouteName));
    } else if (!value.isObject()) {
      reader.Add(value, key, "allowed is an object { ... }");
    } else {
      routes[name] = reader.Read(key, value);
    }
  }
  for (const auto& [name, route] : routes) {
    const std::string key = fmt::format("routes.{}.fallback", name);
    const Json::Value& value = object[name]["fallback"];
    if (route.fallback == name) {
      reader.Add(value, key, "is the route itself");
    } else if (const auto circle = CircleFrom(name, routes); !circle.empty()) {
      reader.Add(value, key, fmt::format("leads in a circle: {}", fmt::join(circle, " -> ")));
    }
  }
  return problems;
}

std::string ToJson(const Config::Route& route) {
  std::vector<std::string> members = TargetMembers(route.model, route.version);
  if (route.canary) {
    std::vector<std::string> canary = TargetMembers(route.canary->model, route.canary->version);
    canary.push_back(fmt::format(R"("percent": {})", route.canary->percent));
    canary.push_back(fmt::format(R"("by": "{}")", route.canary->by_address ? "address" : "key"));
    members.push_back(R"("canary": )" + Joined(canary));
  }
  if (route.shadow) {
    std::vector<std::string> shadow = TargetMembers(route.shadow->model, route.shadow->version);
    shadow.push_back(fmt::format(R"("percent": {})", route.shadow->percent));
    members.push_back(R"("shadow": )" + Joined(shadow));
  }
  if (!route.fallback.empty()) members.push_back(R"("fallback": )" + QuotedJson(route.fallback));
  return Joined(members);
}

std::string ToJson(const Config::Routes& routes) {
  std::vector<std::string> items;
  for (const auto& [name, route] : routes) {
    items.push_back(fmt::format("{}: {}", QuotedJson(name), ToJson(route)));
  }
  return Joined(items);
}

std::uint64_t DigestOf(const Config::Routes& routes) {
  const std::string text = ToJson(routes);
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace inferpool
