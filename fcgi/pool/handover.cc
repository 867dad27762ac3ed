#include "fcgi/pool/handover.h"

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

void KeepAcrossExec(const Handover& handover, bool keep) {
  for (const int fd : {handover.listener, handover.sidecar_listener, handover.scoreboard,
                       handover.wakeup, handover.pid_file}) {
    fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
  }
}

}  // namespace

std::string ToText(const Handover& handover) {
  Json::Value json;
  json["listener"] = handover.listener;
  json["sidecar_listener"] = handover.sidecar_listener;
  json["scoreboard"] = handover.scoreboard;
  json["wakeup"] = handover.wakeup;
  json["pid_file"] = handover.pid_file;
  json["socket_activated"] = handover.socket_activated;
  json["generation"] = handover.generation;
  json["workers"] = handover.workers;
  json["at_start"] = Json::arrayValue;
  for (const std::string& text : handover.at_start) json["at_start"].append(text);
  json["children"] = Json::arrayValue;
  for (const Handover::Child& child : handover.children) {
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

absl::StatusOr<Handover> ParseHandover(const std::string& text) {
  Json::Value json;
  std::string errors;
  const Json::CharReaderBuilder builder;
  const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
  try {
    if (!reader->parse(text.data(), text.data() + text.size(), &json, &errors)) {
      return absl::InvalidArgumentError("the handover is not JSON");
    }
    Handover handover{.listener = json["listener"].asInt(),
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
      handover.at_start.push_back(entry.asString());
    }
    for (const Json::Value& entry : json["children"]) {
      handover.children.push_back({.role = entry["role"].asInt(),
                                   .place = entry["place"].asInt(),
                                   .pid = entry["pid"].asInt(),
                                   .generation = entry["generation"].asUInt(),
                                   .ready = entry["ready"].asBool(),
                                   .leaving = entry["leaving"].asBool()});
    }
    return handover;
  } catch (const std::exception& error) {  // a value of another kind
    return absl::InvalidArgumentError("the handover is not as expected");
  }
}

std::optional<Handover> TakeHandover() {
  const char* text = getenv(kVariable);  // NOLINT(concurrency-mt-unsafe): one thread
  if (text == nullptr) return std::nullopt;
  absl::StatusOr<Handover> handover = ParseHandover(text);
  unsetenv(kVariable);  // NOLINT(concurrency-mt-unsafe): one thread
  if (!handover.ok()) {
    log::Error("cannot take over from the program before",
               {{"reason", Message(handover.status())}});
    return std::nullopt;
  }
  KeepAcrossExec(*handover, false);
  return *std::move(handover);
}

void ExecWithHandover(const std::vector<std::string>& command_line, const Handover& handover) {
  KeepAcrossExec(handover, true);
  setenv(kVariable, ToText(handover).c_str(), /*overwrite=*/1);  // NOLINT(concurrency-mt-unsafe)
  Exec(command_line);
  const int error = errno;
  unsetenv(kVariable);  // NOLINT(concurrency-mt-unsafe)
  KeepAcrossExec(handover, false);
  errno = error;
}

}  // namespace inferpool::fcgi
