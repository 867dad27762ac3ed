#include "fcgi/pool/inheritance.h"

#include <fcntl.h>
#include <json/reader.h>
#include <json/value.h>
#include <json/writer.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <memory>

#include "fcgi/pool/child.h"
#include "shared/base/log.h"

namespace inferpool::fcgi {
namespace {

constexpr const char* kVariable = "INFERPOOL_INHERITANCE";

void KeepAcrossExec(const Inheritance& inheritance, bool keep) {
  for (const int fd : {inheritance.listener, inheritance.sidecar_listener, inheritance.scoreboard,
                       inheritance.wakeup, inheritance.pid_file}) {
    fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
  }
}

}  // namespace

std::string ToText(const Inheritance& inheritance) {
  Json::Value json;
  json["listener"] = inheritance.listener;
  json["sidecar_listener"] = inheritance.sidecar_listener;
  json["scoreboard"] = inheritance.scoreboard;
  json["wakeup"] = inheritance.wakeup;
  json["pid_file"] = inheritance.pid_file;
  json["socket_activated"] = inheritance.socket_activated;
  json["generation"] = inheritance.generation;
  json["workers"] = inheritance.workers;
  json["at_start"] = Json::arrayValue;
  for (const std::string& text : inheritance.at_start) json["at_start"].append(text);
  json["children"] = Json::arrayValue;
  for (const Inheritance::Child& child : inheritance.children) {
    Json::Value entry;
    entry["role"] = child.role;
    entry["place"] = child.place;
    entry["pid"] = child.pid;
    entry["generation"] = child.generation;
    entry["ready"] = child.ready;
    entry["leaving"] = child.leaving;
    json["children"].append(entry);
  }
  Json::StreamWriterBuilder builder;
  builder["indentation"] = "";
  return Json::writeString(builder, json);
}

absl::StatusOr<Inheritance> ParseInheritance(const std::string& text) {
  Json::Value json;
  std::string errors;
  const Json::CharReaderBuilder builder;
  const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
  try {
    if (!reader->parse(text.data(), text.data() + text.size(), &json, &errors)) {
      return absl::InvalidArgumentError("the inheritance is not JSON");
    }
    Inheritance inheritance{.listener = json["listener"].asInt(),
                            .sidecar_listener = json["sidecar_listener"].asInt(),
                            .scoreboard = json["scoreboard"].asInt(),
                            .wakeup = json["wakeup"].asInt(),
                            .pid_file = json.get("pid_file", -1).asInt(),
                            .socket_activated = json["socket_activated"].asBool(),
                            .generation = json["generation"].asUInt(),
                            .at_start = {},
                            .workers = json["workers"].asInt(),
                            .children = {}};
    for (const Json::Value& entry : json["at_start"]) {
      inheritance.at_start.push_back(entry.asString());
    }
    for (const Json::Value& entry : json["children"]) {
      inheritance.children.push_back({.role = entry["role"].asInt(),
                                      .place = entry["place"].asInt(),
                                      .pid = entry["pid"].asInt(),
                                      .generation = entry["generation"].asUInt(),
                                      .ready = entry["ready"].asBool(),
                                      .leaving = entry["leaving"].asBool()});
    }
    return inheritance;
  } catch (const std::exception& error) {  // a value of another kind
    return absl::InvalidArgumentError("the inheritance is not as expected");
  }
}

std::optional<Inheritance> TakeInheritance() {
  const char* text = getenv(kVariable);  // NOLINT(concurrency-mt-unsafe): one thread
  if (text == nullptr) return std::nullopt;
  absl::StatusOr<Inheritance> inheritance = ParseInheritance(text);
  unsetenv(kVariable);  // NOLINT(concurrency-mt-unsafe): one thread
  if (!inheritance.ok()) {
    log::Error("cannot take over from the program before",
               {{"reason", Message(inheritance.status())}});
    return std::nullopt;
  }
  KeepAcrossExec(*inheritance, false);
  return *std::move(inheritance);
}

void ExecWithInheritance(const std::vector<std::string>& command_line,
                         const Inheritance& inheritance) {
  KeepAcrossExec(inheritance, true);
  setenv(kVariable, ToText(inheritance).c_str(), /*overwrite=*/1);  // NOLINT(concurrency-mt-unsafe)
  Exec(command_line);
  const int error = errno;
  unsetenv(kVariable);  // NOLINT(concurrency-mt-unsafe)
  KeepAcrossExec(inheritance, false);
  errno = error;
}

}  // namespace inferpool::fcgi
