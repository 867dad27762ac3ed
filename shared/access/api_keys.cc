#include "shared/access/api_keys.h"

#include <absl/time/time.h>
#include <fmt/format.h>
#include <json/value.h>
#include <json/writer.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>

#include "shared/base/json_text.h"
#include "shared/base/strict_json.h"

namespace inferpool {
namespace {

constexpr double kMinRate = 0.001;
constexpr double kMaxRate = 1e6;
constexpr int kMaxBurst = 1'000'000;
constexpr std::size_t kMaxFileBytes = std::size_t{4} << 20;
constexpr std::size_t kMaxPatterns = 1000;

// Where `pattern`, in which '*' stands for any characters, takes all of `text`.
bool Matches(std::string_view pattern, std::string_view text) {
  std::size_t at = 0, in_pattern = 0;
  std::size_t star = std::string_view::npos, resume = 0;  // the latest '*', and where it began
  while (at < text.size()) {
    if (in_pattern < pattern.size() && pattern[in_pattern] == '*') {
      star = in_pattern++;
      resume = at;
    } else if (in_pattern < pattern.size() && pattern[in_pattern] == text[at]) {
      ++in_pattern;
      ++at;
    } else if (star != std::string_view::npos) {
      in_pattern = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', in_pattern) == std::string_view::npos;
}

bool MatchesAny(const std::vector<std::string>& patterns, std::string_view text) {
  return std::ranges::any_of(patterns,
                             [text](const std::string& pattern) { return Matches(pattern, text); });
}

Json::Value ListOf(const std::vector<std::string>& texts) {
  Json::Value list = Json::arrayValue;
  for (const std::string& text : texts) list.append(text);
  return list;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<ApiKey>> Parse() {
    constexpr int kMaxDepth = 8;
    const absl::StatusOr<Json::Value> json = ReadStrictJson(text_, kMaxDepth, kMaxFileBytes);
    if (!json.ok()) return InvalidArgument("is not JSON: {}", Message(json.status()));
    const Json::Value& root = *json;
    RETURN_IF_ERROR(CheckMembers(root, {"keys"}, {"keys"}));
    const Json::Value& list = root["keys"];
    if (!list.isArray()) return At(list, "keys is no list");
    if (list.size() > kMaxApiKeys) {
      return At(list, fmt::format("has {} keys, allowed are {}", list.size(), kMaxApiKeys));
    }
    for (const Json::Value& entry : list) RETURN_IF_ERROR(AddKey(entry));
    return std::move(keys_);
  }

 private:
  absl::Status At(const Json::Value& value, std::string_view why) const {
    const auto begin =
        std::min<std::size_t>(static_cast<std::size_t>(value.getOffsetStart()), text_.size());
    return InvalidArgument("line {}: {}", 1 + std::ranges::count(text_.substr(0, begin), '\n'),
                           why);
  }

  absl::Status CheckMembers(const Json::Value& object,
                            std::initializer_list<std::string_view> allowed,
                            std::initializer_list<std::string_view> needed) const {
    if (!object.isObject()) return At(object, "is no object { ... }");
    for (const std::string& member : object.getMemberNames()) {
      if (std::ranges::find(allowed, member) == allowed.end()) {
        return At(object[member], fmt::format("{} is unknown; allowed are {}", QuotedJson(member),
                                              Listed(allowed)));
      }
    }
    for (const std::string_view member : needed) {
      if (!object.isMember(std::string(member))) {
        return At(object, fmt::format("has no {}", member));
      }
    }
    return absl::OkStatus();
  }

  static std::string Listed(std::initializer_list<std::string_view> words) {
    std::string list;
    for (const std::string_view word : words) {
      list += (list.empty() ? "" : ", ") + std::string(word);
    }
    return list;
  }

  absl::Status AddKey(const Json::Value& entry) {
    RETURN_IF_ERROR(CheckMembers(
        entry,
        {"name", "sha256", "models", "cameras", "rate_per_s", "burst", "priority", "expires"},
        {"name", "sha256"}));
    for (const char* member : {"name", "sha256", "priority", "expires"}) {
      if (entry.isMember(member) && !entry[member].isString()) {
        return At(entry[member], fmt::format("{} is no text", member));
      }
    }
    ApiKey key;
    key.name = entry["name"].asString();
    if (const absl::Status status = CheckKeyName(key.name); !status.ok()) {
      return At(entry["name"], Message(status));
    }
    if (!names_.insert(key.name).second) {
      return At(entry["name"], fmt::format("there is a key {} already", key.name));
    }
    const auto digest = ParseSha256(entry["sha256"].asString());
    if (!digest) return At(entry["sha256"], "sha256 is not 64 hexadecimal digits");
    key.sha256 = *digest;
    if (!digests_.insert(ToHex(*digest)).second) {
      return At(entry["sha256"], "there is a key with this sha256 already");
    }
    RETURN_IF_ERROR(ReadPatterns(entry, "models", key.models));
    if (key.models != ApiKey().models) key.cameras.clear();
    RETURN_IF_ERROR(ReadPatterns(entry, "cameras", key.cameras));
    RETURN_IF_ERROR(ReadRate(entry, key));
    if (entry.isMember("priority")) {
      const auto priority = ParsePriority(entry["priority"].asString());
      if (!priority) return At(entry["priority"], "priority is not high, normal or low");
      key.priority = *priority;
    }
    if (entry.isMember("expires")) {
      key.expires = entry["expires"].asString();
      const auto at = ParseExpiry(key.expires);
      if (!at.ok()) return At(entry["expires"], Message(at.status()));
      key.expires_at = *at;
    }
    keys_.push_back(std::move(key));
    return absl::OkStatus();
  }

  // `patterns` stay as they are when the entry has no such member.
  absl::Status ReadPatterns(const Json::Value& entry, const char* member,
                            std::vector<std::string>& patterns) const {
    if (!entry.isMember(member)) return absl::OkStatus();
    const Json::Value& names = entry[member];
    const bool texts = names.isArray() && names.size() <= kMaxPatterns &&
                       std::ranges::all_of(names, [](const Json::Value& name) {
                         return name.isString() && !name.asString().empty();
                       });
    if (!texts) return At(names, fmt::format("{} is no list of names", member));
    patterns.clear();
    for (const Json::Value& name : names) patterns.push_back(name.asString());
    return absl::OkStatus();
  }

  absl::Status ReadRate(const Json::Value& entry, ApiKey& key) const {
    double per_s = 0;
    int burst = 0;
    if (entry.isMember("rate_per_s")) {
      if (!entry["rate_per_s"].isNumeric()) {
        return At(entry["rate_per_s"], "rate_per_s is no number");
      }
      per_s = entry["rate_per_s"].asDouble();
    }
    if (entry.isMember("burst")) {
      if (!entry["burst"].isInt()) return At(entry["burst"], "burst is no whole number");
      burst = entry["burst"].asInt();
      if (burst == 0) return At(entry["burst"], "burst is 0, allowed is 1 or more");
    }
    const auto rate = MakeRateLimit(per_s, burst);
    if (!rate.ok()) {
      return At(entry.isMember("rate_per_s") ? entry["rate_per_s"] : entry, Message(rate.status()));
    }
    key.rate = *rate;
    return absl::OkStatus();
  }

  const std::string_view text_;
  std::vector<ApiKey> keys_;
  std::set<std::string> names_;
  std::set<std::string> digests_;
};

}  // namespace

bool ApiKey::MayUse(std::string_view model) const {
  return MatchesAny(models, model);
}

bool ApiKey::MayWatch(std::string_view camera) const {
  return MatchesAny(cameras, camera);
}

absl::Status CheckKeyName(std::string_view name) {
  const bool good =
      !name.empty() && name.size() < sizeof(KeyName) && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
      });
  if (good) return absl::OkStatus();
  return InvalidArgument("a key's name is 1 to 63 letters, digits, '.', '_' or '-'");
}

absl::StatusOr<RateLimit> MakeRateLimit(double per_s, int burst) {
  if (per_s != 0 && !(per_s >= kMinRate && per_s <= kMaxRate)) {
    return InvalidArgument("rate_per_s is 0 for no limit, or 0.001 to 1000000");
  }
  if (burst < 0 || burst > kMaxBurst) return InvalidArgument("burst is 1 to 1000000");
  if (per_s == 0 && burst > 0) return InvalidArgument("burst means nothing without rate_per_s");
  if (burst == 0) burst = std::max(1, static_cast<int>(std::ceil(per_s)));
  return RateLimit{per_s, burst};
}

absl::StatusOr<WallTime> ParseExpiry(const std::string& text) {
  constexpr std::size_t kDate = 10;  // "2027-06-30"
  constexpr std::size_t kMinDateTime = 20;
  // abseil would take blanks around it.
  const bool shaped = (text.size() == kDate || text.size() >= kMinDateTime) && text[4] == '-' &&
                      text[7] == '-' && text[0] >= '0' && text[0] <= '9' && text.back() > ' ';
  absl::Time time;
  std::string error;
  const bool parsed =
      shaped && (text.size() == kDate ? absl::ParseTime("%Y-%m-%d", text, &time, &error)
                                      : absl::ParseTime(absl::RFC3339_full, text, &time, &error));
  if (!parsed) {
    return InvalidArgument(
        "expires is {}, allowed is a date such as 2027-06-30 or a time such as "
        "2027-06-30T12:00:00Z",
        QuotedJson(text));
  }
  if (text.size() == kDate) time += absl::Hours(24);
  return absl::ToChronoTime(time);
}

absl::StatusOr<std::vector<ApiKey>> ParseApiKeys(std::string_view text) {
  return Parser(text).Parse();
}

absl::StatusOr<std::vector<ApiKey>> LoadApiKeys(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text;
  text.resize(kMaxFileBytes + 1);
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.eof() || stream.gcount() == 0) {
    return absl::NotFoundError(fmt::format(
        "{}: {}", file,
        stream.gcount() > 0 ? "is larger than 4 MiB"
        : stream.is_open()  ? "is empty, or no file"
                            : "cannot be read: is it there, and readable for the pool's user?"));
  }
  text.resize(static_cast<std::size_t>(stream.gcount()));
  auto keys = ParseApiKeys(text);
  if (keys.ok()) return keys;
  std::string_view why = Message(keys.status());
  constexpr std::string_view kLine = "line ";
  const bool has_line = why.starts_with(kLine);
  if (has_line) why.remove_prefix(kLine.size());
  return InvalidArgument("{}:{}{}", file, has_line ? "" : " ", why);
}

std::string SerializeApiKeys(const std::vector<ApiKey>& keys) {
  Json::Value root;
  root["keys"] = Json::arrayValue;
  for (const ApiKey& key : keys) {
    Json::Value& entry = root["keys"].append(Json::objectValue);
    entry["name"] = key.name;
    entry["sha256"] = ToHex(key.sha256);
    const bool all_models = key.models == ApiKey().models;
    if (!all_models) entry["models"] = ListOf(key.models);
    const bool as_without = all_models ? key.cameras == ApiKey().cameras : key.cameras.empty();
    if (!as_without) entry["cameras"] = ListOf(key.cameras);
    if (key.rate.per_s > 0) {
      entry["rate_per_s"] = key.rate.per_s;
      entry["burst"] = key.rate.burst;
    }
    entry["priority"] = std::string(Name(key.priority));
    if (!key.expires.empty()) entry["expires"] = key.expires;
  }
  Json::StreamWriterBuilder builder;
  builder["indentation"] = "  ";
  builder["precision"] = 9;
  return Json::writeString(builder, root) + "\n";
}

}  // namespace inferpool
