#include "shared/config/routes_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/json.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include "shared/base/file_descriptor.h"
#include "shared/base/json_text.h"
#include "shared/base/strict_json.h"
#include "shared/config/routes_key.h"

namespace inferpool {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{4} << 20;
constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxValues = 20'000;
constexpr std::size_t kMaxChanges = 20;

absl::StatusOr<Config::Routes> ReadMember(const Json::Value& root, const char* name) {
  Config::Routes routes;
  if (!root[name].isObject()) return InvalidArgument("{} is no object", name);
  const auto problems = ReadRoutes(root[name], routes);
  if (problems.empty()) return routes;
  return InvalidArgument("{}: {}", problems.front().key, problems.front().message);
}

absl::StatusOr<std::vector<RoutesChange>> ReadChanges(const Json::Value& list) {
  std::vector<RoutesChange> changes;
  if (!list.isArray()) return InvalidArgument("changes is no list");
  for (const Json::Value& item : list) {
    const bool good = item.isObject() && item["number"].isInt64() && item["at"].isString() &&
                      item["by"].isString() && item["what"].isString();
    if (!good) {
      return InvalidArgument("changes has something else than number, at, by and what");
    }
    changes.push_back({item["number"].asInt64(), item["at"].asString(), item["by"].asString(),
                       item["what"].asString()});
  }
  return changes;
}

absl::StatusOr<std::uint64_t> ReadDigest(const Json::Value& value) {
  const std::string text = value.isString() ? value.asString() : "";
  std::uint64_t digest = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), digest, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument("configuration is no 16 hexadecimal digits");
  }
  return digest;
}

absl::StatusOr<Json::Value> AsJson(const std::string& text) {
  return ReadStrictJson(text, kMaxDepth, kMaxValues);
}

// "canary.percent=25"
absl::Status Assign(Json::Value& route, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    return InvalidArgument(
        "{} is neither MEMBER=VALUE, such as canary.percent=25, nor a route {{ ... }}, nor null",
        QuotedJson(assignment));
  }
  const std::string member = assignment.substr(0, equals);
  const std::string text = assignment.substr(equals + 1);
  auto value = AsJson(text);
  if (!value.ok()) value = Json::Value(text);
  const std::size_t dot = member.find('.');
  const std::string outer = member.substr(0, dot);
  Json::Value* object = &route;
  if (dot != std::string::npos) {
    if (!route[outer].isObject()) route[outer] = Json::objectValue;
    object = &route[outer];
  }
  const std::string inner = dot == std::string::npos ? member : member.substr(dot + 1);
  if (value->isNull()) {
    object->removeMember(inner);
  } else {
    (*object)[inner] = *std::move(value);
  }
  return absl::OkStatus();
}

absl::StatusOr<Config::Route*> Find(RoutesFile& file, const std::string& name) {
  const auto found = file.routes.find(name);
  if (found != file.routes.end()) return &found->second;
  std::vector<std::string> names;
  for (const auto& [known, route] : file.routes) names.push_back(known);
  return absl::NotFoundError(
      fmt::format("there is no route {}; there {}", name,
                  names.empty() ? "are none" : fmt::format("are {}", fmt::join(names, ", "))));
}

}  // namespace

bool RoutesFile::CountsFor(const Config::Routes& configured) const {
  return !changes.empty() && configuration == DigestOf(configured);
}

std::string RoutesFilePath(const std::string& state) {
  return state + "/routes.json";
}

std::string KeptRoutesPath(const std::string& state) {
  return state + "/children/routes.json";
}

absl::StatusOr<RoutesFile> ParseRoutesFile(std::string_view text) {
  const auto root = ReadStrictJson(text, kMaxDepth, kMaxValues);
  RETURN_IF_ERROR(root.status());
  if (!root->isObject()) return InvalidArgument("it is no object");
  RoutesFile file;
  ASSIGN_OR_RETURN(file.configuration, ReadDigest((*root)["configuration"]));
  ASSIGN_OR_RETURN(file.routes, ReadMember(*root, "routes"));
  ASSIGN_OR_RETURN(file.before, ReadMember(*root, "before"));
  ASSIGN_OR_RETURN(file.changes, ReadChanges((*root)["changes"]));
  return file;
}

absl::StatusOr<RoutesFile> LoadRoutesFile(const std::string& path) {
  const auto failed = [&path] {
    return absl::UnavailableError(
        fmt::format("cannot read {}: {}", path, std::generic_category().message(errno)));
  };
  // A pipe does not hold us.
  const FileDescriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!descriptor) {
    if (errno == ENOENT) return absl::NotFoundError(fmt::format("there is no {}", path));
    return failed();
  }
  struct stat info {};
  if (fstat(descriptor.get(), &info) != 0) return failed();
  if (!S_ISREG(info.st_mode)) return InvalidArgument("{} is no regular file", path);
  std::string text(kMaxFileBytes + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(descriptor.get(), text.data() + size, text.size() - size);
    if (got == 0) break;
    if (got > 0) {
      size += static_cast<std::size_t>(got);
    } else if (errno != EINTR) {
      return failed();
    }
  }
  if (size == text.size()) {
    return InvalidArgument("{} is larger than {} bytes", path, kMaxFileBytes);
  }
  text.resize(size);
  auto file = ParseRoutesFile(text);
  if (file.ok()) return file;
  return InvalidArgument("{}: {}", path, Message(file.status()));
}

std::string SerializeRoutesFile(const RoutesFile& file) {
  std::vector<std::string> changes;
  for (const RoutesChange& change : file.changes) {
    changes.push_back(fmt::format(R"(    {{"number": {}, "at": {}, "by": {}, "what": {}}})",
                                  change.number, QuotedJson(change.at), QuotedJson(change.by),
                                  QuotedJson(change.what)));
  }
  return fmt::format(
      "{{\n  \"configuration\": \"{:016x}\",\n  \"routes\": {},\n  \"before\": {},\n"
      "  \"changes\": [\n{}\n  ]\n}}\n",
      file.configuration, ToJson(file.routes), ToJson(file.before), fmt::join(changes, ",\n"));
}

absl::Status SetRoute(RoutesFile& file, const std::string& name,
                      const std::vector<std::string>& assignments) {
  auto routes = AsJson(ToJson(file.routes));
  RETURN_IF_ERROR(routes.status());
  for (const std::string& assignment : assignments) {
    if (assignment == "null") {
      if (!routes->isMember(name)) return Find(file, name).status();
      routes->removeMember(name);
    } else if (assignment.starts_with('{')) {
      auto route = AsJson(assignment);
      if (!route.ok()) return InvalidArgument("the route is not JSON: {}", Message(route.status()));
      (*routes)[name] = *std::move(route);
    } else {
      if (!routes->isMember(name)) (*routes)[name] = Json::objectValue;
      RETURN_IF_ERROR(Assign((*routes)[name], assignment));
    }
  }
  Config::Routes read;
  const auto problems = ReadRoutes(*routes, read);
  if (!problems.empty()) {
    return InvalidArgument("{}: {}", problems.front().key, problems.front().message);
  }
  file.routes = std::move(read);
  if (!file.routes.contains(name)) file.before.erase(name);
  return absl::OkStatus();
}

absl::Status PromoteRoute(RoutesFile& file, const std::string& name) {
  const auto found = Find(file, name);
  RETURN_IF_ERROR(found.status());
  Config::Route& route = **found;
  if (!route.canary) {
    return absl::FailedPreconditionError(fmt::format("the route {} has no canary", name));
  }
  file.before[name] = {.model = route.model, .version = route.version};
  route.model = route.canary->model;
  route.version = route.canary->version;
  route.canary.reset();
  return absl::OkStatus();
}

absl::Status RollBackRoute(RoutesFile& file, const std::string& name) {
  const auto found = Find(file, name);
  RETURN_IF_ERROR(found.status());
  Config::Route& route = **found;
  if (route.canary) {
    route.canary.reset();
    return absl::OkStatus();
  }
  const auto before = file.before.find(name);
  if (before == file.before.end()) {
    return absl::FailedPreconditionError(
        fmt::format("the route {} has no canary and was not promoted", name));
  }
  route.model = before->second.model;
  route.version = before->second.version;
  file.before.erase(before);
  return absl::OkStatus();
}

void AddChange(RoutesFile& file, RoutesChange change) {
  file.changes.push_back(std::move(change));
  if (file.changes.size() > kMaxChanges) file.changes.erase(file.changes.begin());
}

}  // namespace inferpool
