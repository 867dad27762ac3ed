#include "worker/backend/rpc/model_directory.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace inferpool::backend {
namespace {

constexpr std::chrono::minutes kIndexPause{1};
// What strangers ask for must not become many questions; what is ready is asked about further.
constexpr std::size_t kMaxWanted = 32;
constexpr std::size_t kMaxSigns = 16;
// Of one server without an index: names, and versions of each.
constexpr std::size_t kMaxKnown = 1'000;
constexpr std::size_t kMaxVersions = 16;

}  // namespace

std::optional<ModelVersion> SplitVersion(std::string_view text) {
  constexpr std::size_t kMaxVersion = 64;
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos || at == 0) return std::nullopt;
  const std::string_view version = text.substr(at + 1);
  const bool is_version =
      !version.empty() && version.size() <= kMaxVersion && std::ranges::all_of(version, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '.' || c == '_' || c == '-';
      });
  if (!is_version) return std::nullopt;
  return ModelVersion{std::string(text.substr(0, at)), std::string(version)};
}

std::string Name(const ModelVersion& model) {
  return model.version.empty() ? model.name : model.name + "@" + model.version;
}

ModelDirectory::ModelDirectory(std::size_t servers, std::vector<std::string> named)
    : named_(std::move(named)), servers_(servers) {}

ModelDirectory::Has ModelDirectory::LookLocked(const Server& server,
                                               const ModelVersion& model) const {
  const auto found = server.ready.find(model.name);
  const bool ready = found != server.ready.end();
  if (ready && (model.version.empty() || found->second.contains(model.version))) return Has::kYes;
  if (server.has_index) {
    // One that names no versions may still have this one.
    return ready && found->second.contains("") ? Has::kMaybe : Has::kNo;
  }
  const bool refused = server.refused.contains(model) || server.refused.contains({model.name, ""});
  return refused ? Has::kNo : Has::kMaybe;
}

ModelDirectory::Has ModelDirectory::Look(std::size_t server, const ModelVersion& model) const {
  const MutexLock lock(mutex_);
  return LookLocked(servers_[server], model);
}

std::vector<std::size_t> ModelDirectory::ServersFor(const ModelVersion& model) const {
  std::vector<std::size_t> of_the_best;
  Has best = Has::kNo;
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    const Has has = LookLocked(servers_[i], model);
    if (has < best) continue;
    if (has > best) of_the_best.clear();
    best = has;
    of_the_best.push_back(i);
  }
  return of_the_best;
}

bool ModelDirectory::HasAnotherThan(std::size_t server, const ModelVersion& model) const {
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    if (i != server && LookLocked(servers_[i], model) == Has::kYes) return true;
  }
  return false;
}

std::vector<ModelDirectory::Ready> ModelDirectory::ReadyOn(std::size_t server) const {
  const MutexLock lock(mutex_);
  std::vector<Ready> models;
  for (const auto& [name, versions] : servers_[server].ready) {
    Ready& model = models.emplace_back(Ready{name, {}});
    std::ranges::copy_if(versions, std::back_inserter(model.versions),
                         [](const std::string& version) { return !version.empty(); });
  }
  return models;
}

std::vector<std::string> ModelDirectory::Names() const {
  std::set<std::string> names(named_.begin(), named_.end());
  const MutexLock lock(mutex_);
  for (const Server& server : servers_) {
    for (const auto& [name, versions] : server.ready) names.insert(name);
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> ModelDirectory::SignsOf(std::size_t server) const {
  std::vector<std::string> names;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, versions] : servers_[server].ready) {
      if (names.size() == kMaxSigns / 2) break;
      names.push_back(name);
    }
  }
  for (const std::string& name : named_) {
    if (names.size() == kMaxSigns) break;
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

bool ModelDirectory::AsksForIndex(std::size_t server, TimePoint now) const {
  const MutexLock lock(mutex_);
  const Server& of = servers_[server];
  return !of.said_no_index || now >= of.asked_index + kIndexPause;
}

std::vector<ModelVersion> ModelDirectory::Questions(std::size_t server) const {
  std::set<ModelVersion> questions;
  for (const std::string& name : named_) questions.insert({name, ""});
  const MutexLock lock(mutex_);
  for (const auto& [name, versions] : servers_[server].ready) {
    for (const std::string& version : versions) questions.insert({name, version});
  }
  for (const Server& other : servers_) {
    for (const auto& [name, versions] : other.ready) {
      if (questions.size() >= kMaxKnown) break;
      if (!servers_[server].ready.contains(name)) questions.insert({name, ""});
    }
  }
  questions.insert(wanted_.begin(), wanted_.end());
  return {questions.begin(), questions.end()};
}

void ModelDirectory::Want(const ModelVersion& model) {
  const MutexLock lock(mutex_);
  if (std::ranges::find(wanted_, model) != wanted_.end()) return;
  if (wanted_.size() == kMaxWanted) {
    for (Server& server : servers_) server.refused.erase(wanted_.front());
    wanted_.erase(wanted_.begin());
  }
  wanted_.push_back(model);
}

bool ModelDirectory::Knows(std::size_t server, const ModelVersion& model, TimePoint since) const {
  const MutexLock lock(mutex_);
  const Server& of = servers_[server];
  if (of.has_index) return of.asked_index >= since;
  const auto later = [&](const std::map<ModelVersion, TimePoint>& answers) {
    const auto found = answers.find(model);
    return found != answers.end() && found->second >= since;
  };
  return later(of.asked) || later(of.refused);
}

TimePoint ModelDirectory::LostAt(const std::string& name) const {
  TimePoint latest{};
  const MutexLock lock(mutex_);
  for (const Server& server : servers_) {
    const auto found = server.lost.find(name);
    if (found != server.lost.end()) latest = std::max(latest, found->second);
  }
  return latest;
}

void ModelDirectory::Lose(Server& server, const std::string& name, TimePoint asked) {
  if (server.lost.size() >= kMaxKnown) server.lost.erase(server.lost.begin());
  server.lost[name] = asked;
}

bool ModelDirectory::Told(std::size_t server, TimePoint since) const {
  const MutexLock lock(mutex_);
  return servers_[server].told >= since;
}

void ModelDirectory::TookIndex(std::size_t server, std::span<const ModelVersion> ready,
                               TimePoint asked) {
  const MutexLock lock(mutex_);
  Server& of = servers_[server];
  Server before = std::exchange(
      of, {.has_index = true, .said_no_index = false, .asked_index = asked, .told = asked});
  of.lost = std::move(before.lost);
  for (const ModelVersion& model : ready) {
    of.ready[model.name].insert(model.version);
    of.lost.erase(model.name);
  }
  for (const auto& [name, versions] : before.ready) {
    const auto now = of.ready.find(name);
    const bool has_all = now != of.ready.end() && std::ranges::includes(now->second, versions);
    if (!has_all) Lose(of, name, asked);
  }
}

void ModelDirectory::TookNoIndex(std::size_t server, TimePoint asked) {
  const MutexLock lock(mutex_);
  Server& of = servers_[server];
  of.has_index = false;
  of.said_no_index = true;
  of.asked_index = of.told = asked;
}

void ModelDirectory::TookReadiness(std::size_t server, const ModelVersion& model, bool ready,
                                   TimePoint asked) {
  const MutexLock lock(mutex_);
  Server& of = servers_[server];
  if (of.has_index) return;
  of.told = asked;
  if (ready) {
    if (!MakeRoomLocked(of, model)) return;
    of.ready[model.name].insert(model.version);
    of.asked[model] = asked;
    of.refused.erase(model);
    of.lost.erase(model.name);
    return;
  }
  of.asked.erase(model);
  if (const auto found = of.ready.find(model.name); found != of.ready.end()) {
    if (model.version.empty() || found->second.contains(model.version)) {
      Lose(of, model.name, asked);
    }
    // When it is not ready in whichever version, it is in none.
    if (model.version.empty()) {
      for (const std::string& version : found->second) of.asked.erase({model.name, version});
      found->second.clear();
    }
    found->second.erase(model.version);
    if (found->second.empty()) of.ready.erase(found);
  }
  const bool is_named = std::ranges::find(named_, model.name) != named_.end();
  const bool is_wanted = std::ranges::find(wanted_, model) != wanted_.end();
  const bool is_elsewhere = model.version.empty() && of.refused.size() < kMaxKnown &&
                            std::ranges::any_of(servers_, [&](const Server& other) {
                              return other.ready.contains(model.name);
                            });
  if (is_named || is_wanted || is_elsewhere) of.refused[model] = asked;
}

void ModelDirectory::TookNothing(std::size_t server, TimePoint asked) {
  const MutexLock lock(mutex_);
  servers_[server].told = asked;
}

bool ModelDirectory::MakeRoomLocked(Server& server, const ModelVersion& model) const {
  const auto found = server.ready.find(model.name);
  if (found == server.ready.end()) return server.ready.size() < kMaxKnown;
  std::set<std::string>& versions = found->second;
  if (versions.size() < kMaxVersions || versions.contains(model.version)) return true;
  // What nobody has asked for lately goes first.
  const auto is_old = [&](const std::string& version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const ModelVersion other{model.name, version};
    return !version.empty() && std::ranges::find(wanted_, other) == wanted_.end();
  };
  const auto old = std::ranges::find_if(versions, is_old);
  if (old == versions.end()) return false;
  server.asked.erase({model.name, *old});
  versions.erase(old);
  return true;
}

void ModelDirectory::Found(std::size_t server, const ModelVersion& model) {
  const MutexLock lock(mutex_);
  Server& of = servers_[server];
  if (of.has_index || !MakeRoomLocked(of, model)) return;
  const auto known = of.ready.find(model.name);
  if (known != of.ready.end() && model.version.empty()) return;
  of.ready[model.name].insert(model.version);
  of.refused.erase(model);
}

}  // namespace inferpool::backend
