#include "modelserver/repository/model_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "modelserver/repository/ensemble.h"
#include "modelserver/repository/model_folder.h"
#include "shared/base/check.h"
#include "shared/base/log.h"

namespace inferpool::modelserver {
namespace {

constexpr int kMaxNesting = 8;  // ensembles within ensembles; each takes stack

constexpr std::string_view kUnloaded = "unloaded";

void LogEnsemble(const std::string& name, ModelState state, const absl::Status& why_not) {
  if (state == ModelState::kReady) {
    log::Info("model ready", {{"model", name}, {"ensemble", true}});
  } else if (state == ModelState::kUnavailable) {
    log::Error("ensemble is without its models", {{"model", name}, {"reason", Message(why_not)}});
  }
}

}  // namespace

std::string_view ModelStateName(ModelState state) {
  switch (state) {
    case ModelState::kLoading:
      return "LOADING";
    case ModelState::kReady:
      return "READY";
    case ModelState::kUnloading:
      return "UNLOADING";
    case ModelState::kUnavailable:
      break;
  }
  return "UNAVAILABLE";
}

absl::Status ModelTable::Expect(const std::string& name, std::size_t max_models) {
  Retired retired;
  const MutexLock lock(mutex_);
  if (!entries_.contains(name) && entries_.size() >= max_models) {
    std::erase_if(entries_, [](const auto& item) {
      return item.second.reason == kUnloaded &&
             std::ranges::all_of(item.second.versions,
                                 [](const auto& version) { return IsGone(version.second); });
    });
    if (entries_.size() >= max_models) {
      return absl::UnavailableError(fmt::format("there are {} models already", max_models));
    }
  }
  Entry& entry = entries_[name];
  if (Serves(entry)) {
    return absl::OkStatus();
  }
  ForgetUnloaded(entry);
  std::erase_if(entry.versions, [](const auto& item) { return !item.second.unloaded; });
  entry.state = ModelState::kLoading;
  entry.reason.clear();
  entry.ensemble.reset();
  RefreshEnsembles(retired);
  return absl::OkStatus();
}

void ModelTable::ExpectVersions(const std::string& name,
                                const std::vector<std::int64_t>& versions) {
  const MutexLock lock(mutex_);
  Entry& entry = entries_[name];
  entry.ensemble.reset();
  for (const std::int64_t version : versions) {
    entry.versions.insert_or_assign(version, Version());
  }
}

void ModelTable::Publish(const std::string& name, std::int64_t version,
                         absl::StatusOr<std::shared_ptr<Model>> model) {
  Retired retired;
  const MutexLock lock(mutex_);
  Version& entry = entries_[name].versions[version];
  if (model.ok()) {
    entry = {.state = ModelState::kReady, .model = *std::move(model)};
  } else {
    entry = {.state = ModelState::kUnavailable, .reason = std::string(Message(model.status()))};
  }
  RefreshEnsembles(retired);
}

void ModelTable::Replace(const std::string& name, Loaded&& versions) {
  Retired retired;
  const MutexLock lock(mutex_);
  Entry& entry = entries_[name];
  ForgetUnloaded(entry);
  for (auto& [version, old] : entry.versions) {
    UnloadVersion(old, retired);
  }
  for (auto& [version, model] : versions) {
    CHECK(model.ok());
    entry.versions.insert_or_assign(
        version, Version{.state = ModelState::kReady, .model = *std::move(model)});
  }
  entry.ensemble.reset();
  RefreshEnsembles(retired);
}

absl::Status ModelTable::PublishEnsemble(const std::string& name,
                                         const std::vector<std::int64_t>& versions,
                                         const inference::ModelConfig& config,
                                         OutputLabels labels) {
  Retired retired;
  const MutexLock lock(mutex_);
  Entry& entry = entries_[name];
  absl::Status fits = Plan(config).status();
  if (!fits.ok() && Serves(entry)) {
    KeepInstead(entry, Message(fits));
    return fits;
  }
  ForgetUnloaded(entry);
  for (auto& [version, old] : entry.versions) {
    UnloadVersion(old, retired);
  }
  for (const std::int64_t version : versions) {
    entry.versions.insert_or_assign(version, Version());
  }
  entry.ensemble = config;
  entry.ensemble_labels = std::move(labels);
  RefreshEnsembles(retired, &entry);
  return fits;
}

void ModelTable::Fail(const std::string& name, std::string_view reason) {
  Retired retired;
  const MutexLock lock(mutex_);
  Entry& entry = entries_[name];
  if (Serves(entry)) {
    KeepInstead(entry, reason);
    return;
  }
  std::erase_if(entry.versions,
                [](const auto& item) { return item.second.state == ModelState::kLoading; });
  entry.state = ModelState::kUnavailable;
  entry.reason = reason;
  RefreshEnsembles(retired);
}

void ModelTable::Unload(const std::string& name) {
  Retired retired;
  const MutexLock lock(mutex_);
  Entry* entry = EntryOf(name);
  if (entry == nullptr) {
    return;
  }
  for (auto& [version, loaded] : entry->versions) {
    UnloadVersion(loaded, retired);
  }
  entry->state = ModelState::kUnavailable;
  entry->reason = kUnloaded;
  entry->ensemble.reset();
  RefreshEnsembles(retired);
}

absl::StatusOr<std::shared_ptr<Model>> ModelTable::Find(const std::string& name,
                                                        const std::string& version) const {
  const std::optional<std::int64_t> number = ParseVersion(version);
  if (!version.empty() && !number) {
    return InvalidArgument("the version '{}' of model '{}' is no positive number", version, name);
  }
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) {
    return absl::NotFoundError(fmt::format("Request for unknown model: '{}' is not found", name));
  }
  const std::map<std::int64_t, Version>& versions = entry->second.versions;
  if (!number) {
    const auto latest = std::find_if(versions.rbegin(), versions.rend(),
                                     [](const auto& item) { return item.second.model != nullptr; });
    if (latest != versions.rend()) {
      return latest->second.model;
    }
    if (IsLoading(entry->second)) {
      return absl::UnavailableError(fmt::format("model '{}' is loading", name));
    }
    return absl::NotFoundError(
        fmt::format("Request for unknown model: '{}' has no available versions", name));
  }
  const auto found = versions.find(*number);
  if (found == versions.end()) {
    return absl::NotFoundError(
        fmt::format("Request for unknown model: '{}' version {} is not found", name, *number));
  }
  if (found->second.model == nullptr) {
    return absl::UnavailableError(fmt::format(
        "model '{}' version {} is not at ready state: {}", name, *number,
        found->second.state == ModelState::kLoading ? "it is loading" : found->second.reason));
  }
  return found->second.model;
}

bool ModelTable::Sound(const std::string& name) const {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(name);
  return entry != entries_.end() && Serves(entry->second) &&
         std::ranges::all_of(entry->second.versions, [](const auto& item) {
           return item.second.unloaded ||
                  (item.second.model != nullptr && item.second.reason.empty());
         });
}

bool ModelTable::Serving(const std::string& name) const {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(name);
  return entry != entries_.end() && Serves(entry->second);
}

bool ModelTable::Loading(const std::string& name) const {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(name);
  return entry != entries_.end() && IsLoading(entry->second);
}

std::vector<std::int64_t> ModelTable::ReadyVersions(const std::string& name) const {
  const MutexLock lock(mutex_);
  std::vector<std::int64_t> ready;
  if (const auto entry = entries_.find(name); entry != entries_.end()) {
    for (const auto& [version, loaded] : entry->second.versions) {
      if (loaded.model != nullptr) {
        ready.push_back(version);
      }
    }
  }
  return ready;
}

std::vector<std::shared_ptr<Model>> ModelTable::ReadyModels() const {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Model>> ready;
  for (const auto& [name, entry] : entries_) {
    for (const auto& [number, version] : entry.versions) {
      if (version.state == ModelState::kReady) {
        ready.push_back(version.model);
      }
    }
  }
  return ready;
}

std::vector<std::string> ModelTable::OwnSteps(const std::string& name) const {
  const MutexLock lock(mutex_);
  std::set<std::string> own;
  std::set<std::string> others;
  for (const auto& [ensemble, entry] : entries_) {
    if (entry.ensemble) {
      for (const auto& step : entry.ensemble->ensemble_scheduling().step()) {
        (ensemble == name ? own : others).insert(step.model_name());
      }
    }
  }
  std::vector<std::string> steps;
  std::ranges::set_difference(own, others, std::back_inserter(steps));
  return steps;
}

std::vector<IndexEntry> ModelTable::Index() const {
  const MutexLock lock(mutex_);
  std::vector<IndexEntry> index;
  for (const auto& [name, entry] : entries_) {
    if (entry.versions.empty()) {
      index.push_back({name, "", entry.state, entry.reason});
    }
    for (const auto& [version, loaded] : entry.versions) {
      index.push_back({name, std::to_string(version), StateOf(loaded), loaded.reason});
    }
  }
  return index;
}

bool ModelTable::Serves(const Entry& entry) {
  return std::ranges::any_of(entry.versions,
                             [](const auto& item) { return item.second.model != nullptr; });
}

bool ModelTable::IsLoading(const Entry& entry) {
  const bool known =
      std::ranges::any_of(entry.versions, [](const auto& item) { return !item.second.unloaded; });
  return known ? std::ranges::any_of(
                     entry.versions,
                     [](const auto& item) { return item.second.state == ModelState::kLoading; })
               : entry.state == ModelState::kLoading;
}

ModelState ModelTable::StateOf(const Version& version) {
  return version.unloaded && !version.going.expired() ? ModelState::kUnloading : version.state;
}

void ModelTable::UnloadVersion(Version& version, Retired& retired) {
  if (version.model != nullptr) {
    version.going = version.model;
    retired.push_back(std::move(version.model));
    version.model.reset();
  }
  version.state = ModelState::kUnavailable;
  version.reason = kUnloaded;
  version.unloaded = true;
}

bool ModelTable::IsGone(const Version& version) {
  return version.unloaded && version.going.expired();
}

void ModelTable::ForgetUnloaded(Entry& entry) {
  std::erase_if(entry.versions, [](const auto& item) { return IsGone(item.second); });
}

void ModelTable::KeepInstead(Entry& entry, std::string_view reason) {
  for (auto& [version, loaded] : entry.versions) {
    if (loaded.model != nullptr) {
      loaded.reason = fmt::format("serves on, as it could not be replaced: {}", reason);
    }
  }
}

ModelTable::Entry* ModelTable::EntryOf(const std::string& name) {
  const auto entry = entries_.find(name);
  return entry == entries_.end() ? nullptr : &entry->second;
}

const inference::ModelConfig* ModelTable::ReadyConfig(const std::string& name,
                                                      const std::string& version) const {
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) {
    return nullptr;
  }
  const std::map<std::int64_t, Version>& versions = entry->second.versions;
  const auto found = std::find_if(versions.rbegin(), versions.rend(), [&](const auto& item) {
    return item.second.model != nullptr &&
           (version.empty() || std::to_string(item.first) == version);
  });
  return found == versions.rend() ? nullptr : &found->second.model->config();
}

int ModelTable::Height(const inference::ModelConfig& ensemble,
                       std::map<std::string, int>& heights) const {
  heights[ensemble.name()] = -1;
  int height = 0;
  for (const auto& step : ensemble.ensemble_scheduling().step()) {
    const auto entry = entries_.find(step.model_name());
    if (entry == entries_.end() || !entry->second.ensemble) {
      continue;
    }
    const auto counted = heights.find(step.model_name());
    const int below =
        counted != heights.end() ? counted->second : Height(*entry->second.ensemble, heights);
    if (below < 0) {
      return -1;
    }
    height = std::max(height, below + 1);
  }
  heights[ensemble.name()] = height;
  return height;
}

absl::StatusOr<EnsemblePlan> ModelTable::Plan(const inference::ModelConfig& ensemble) const {
  std::map<std::string, int> heights;
  const int height = Height(ensemble, heights);
  if (height < 0 || height > kMaxNesting) {
    return absl::InvalidArgumentError(
        height < 0 ? std::string("a cycle: ensembles that contain each other")
                   : fmt::format("ensembles are nested over {} deep", kMaxNesting));
  }
  return PlanEnsemble(
      ensemble, [this](const std::string& name, const std::string& version)
                    ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ReadyConfig(name, version); });
}

bool ModelTable::RefreshEnsemble(Entry& entry, bool logged, Retired& retired) {
  CHECK(entry.ensemble.has_value());
  absl::StatusOr<EnsemblePlan> plan = Plan(*entry.ensemble);
  // Ensembles that contain each other do not count, because they would wait forever.
  std::map<std::string, int> heights;
  const bool waits =
      Height(*entry.ensemble, heights) >= 0 &&
      std::ranges::any_of(entry.ensemble->ensemble_scheduling().step(),
                          [this](const auto& step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                            const auto model = entries_.find(step.model_name());
                            return model != entries_.end() && !Serves(model->second) &&
                                   IsLoading(model->second);
                          });
  const ModelState state = plan.ok() ? ModelState::kReady
                           : waits   ? ModelState::kLoading
                                     : ModelState::kUnavailable;
  bool changed = false;
  for (auto& [number, version] : entry.versions) {
    if (version.unloaded) {
      continue;
    }
    changed = changed || version.state != state;
    version.state = state;
    if (state != ModelState::kReady) {
      version.reason =
          state == ModelState::kUnavailable ? std::string(Message(plan.status())) : std::string();
      retired.push_back(std::move(version.model));
      version.model.reset();
    } else if (version.model == nullptr) {
      version.reason.clear();
      version.model = std::make_shared<Model>(
          *entry.ensemble, entry.ensemble_labels, number, std::make_unique<ModelStatistics>(),
          MakeEnsembleExecutor(*entry.ensemble, *plan,
                               [this](const std::string& name, const std::string& of_version) {
                                 return Find(name, of_version);
                               }));
    }
  }
  if (changed && logged) LogEnsemble(entry.ensemble->name(), state, plan.status());
  return changed;
}

// A changed ensemble may change the ensembles that contain it, and so on. That ends after as many
// rounds as there are ensembles.
void ModelTable::RefreshEnsembles(Retired& retired, const Entry* published) {
  bool changed = true;
  for (std::size_t round = 0; changed && round <= entries_.size(); ++round) {
    changed = false;
    for (auto& [name, entry] : entries_) {
      if (entry.ensemble) {
        changed = RefreshEnsemble(entry, &entry != published, retired) || changed;
      }
    }
  }
}

}  // namespace inferpool::modelserver
