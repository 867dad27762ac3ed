#include "modelserver/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <optional>

#include "modelserver/backends.h"
#include "modelserver/config_file.h"
#include "shared/log.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxModels = 1000;
constexpr std::size_t kMaxVersions = 1000;

std::optional<std::int64_t> ParseVersion(std::string_view text) {
  std::int64_t version = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || rest != text.data() + text.size() || version < 1) {
    return std::nullopt;
  }
  return version;
}

// The names of the folders in `folder`, sorted, without hidden ones.
absl::StatusOr<std::vector<std::string>> Folders(const std::filesystem::path& folder,
                                                 std::size_t most) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::string name = entry->path().filename().string();
    std::error_code unreadable;
    if (name.front() != '.' && entry->is_directory(unreadable)) {
      names.push_back(std::move(name));
    }
  }
  if (error) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", folder.string(), error.message()));
  }
  if (names.size() > most) {
    return absl::InvalidArgumentError(
        fmt::format("{}: has {} folders, {} is the most", folder.string(), names.size(), most));
  }
  std::ranges::sort(names);
  return names;
}

struct Plan {
  inference::ModelConfig config;
  std::vector<std::int64_t> versions;
};

// What of a model is to be loaded.
absl::StatusOr<Plan> MakePlan(const std::filesystem::path& folder, const std::string& name) {
  Plan plan;
  absl::StatusOr<inference::ModelConfig> config = ReadConfigFile(folder / "config.pbtxt", name);
  RETURN_IF_ERROR(config.status());
  plan.config = *std::move(config);

  const absl::StatusOr<std::vector<std::string>> folders = Folders(folder, kMaxVersions);
  RETURN_IF_ERROR(folders.status());
  std::vector<std::int64_t> available;
  for (const std::string& version : *folders) {
    // "01" is no version: its folder would not be found by its number.
    if (const auto number = ParseVersion(version); number && std::to_string(*number) == version) {
      available.push_back(*number);
    }
  }
  const absl::StatusOr<const Backend*> backend = FindBackend(plan.config);
  RETURN_IF_ERROR(backend.status());
  if (available.empty() && !(*backend)->needs_version_folder) {
    available.push_back(1);
  }
  absl::StatusOr<std::vector<std::int64_t>> versions =
      ChooseVersions(plan.config.version_policy(), std::move(available));
  RETURN_IF_ERROR(versions.status());
  if (versions->empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: there is no version folder (1, 2, ...)", folder.string()));
  }
  plan.versions = *std::move(versions);
  return plan;
}

// Libraries' exceptions are caught where they are thrown; this keeps one that was overlooked (and
// memory that ran out) from taking the other models away.
absl::StatusOr<std::shared_ptr<Model>> LoadVersion(const std::filesystem::path& folder,
                                                   std::int64_t version,
                                                   const inference::ModelConfig& config) {
  try {
    absl::StatusOr<std::unique_ptr<Model>> model = Model::Load(folder, version, config);
    RETURN_IF_ERROR(model.status());
    return std::shared_ptr<Model>(*std::move(model));
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

}  // namespace

std::string_view ModelStateName(ModelState state) {
  switch (state) {
    case ModelState::kLoading:
      return "LOADING";
    case ModelState::kReady:
      return "READY";
    case ModelState::kUnavailable:
      break;
  }
  return "UNAVAILABLE";
}

absl::Status Repository::Scan() {
  const absl::StatusOr<std::vector<std::string>> names = Folders(folder_, kMaxModels);
  RETURN_IF_ERROR(names.status());
  const std::lock_guard lock(mutex_);
  for (const std::string& name : *names) {
    entries_[name];
  }
  return absl::OkStatus();
}

void Repository::Load(const std::function<bool()>& stopped) {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : entries_) {
      names.push_back(name);
    }
  }
  for (const std::string& name : names) {
    if (stopped()) {
      return;
    }
    LoadModel(name);
  }
  const std::lock_guard lock(mutex_);
  loaded_ = true;
}

void Repository::LoadModel(const std::string& name) {
  const absl::StatusOr<Plan> plan = MakePlan(folder_ / name, name);
  if (!plan.ok()) {
    Fail(name, plan.status());
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    for (const std::int64_t version : plan->versions) {
      entries_[name].versions[version];
    }
  }
  for (const std::string& setting : UnusedSettings(plan->config)) {
    log::Warning("model setting has no effect", {{"model", name}, {"setting", setting}});
  }
  bool any = false;
  for (const std::int64_t version : plan->versions) {
    const TimePoint start = Clock::now();
    absl::StatusOr<std::shared_ptr<Model>> model =
        LoadVersion(folder_ / name, version, plan->config);
    const std::chrono::duration<double, std::milli> took = Clock::now() - start;
    if (model.ok()) {
      log::Info("model ready", {{"model", name}, {"version", version}, {"took_ms", took.count()}});
    } else {
      log::Error("model failed to load",
                 {{"model", name}, {"version", version}, {"reason", Message(model.status())}});
    }
    const std::lock_guard lock(mutex_);
    Version& entry = entries_[name].versions[version];
    any = any || model.ok();
    if (model.ok()) {
      entry.state = ModelState::kReady;
      entry.model = *std::move(model);
    } else {
      entry.state = ModelState::kUnavailable;
      entry.reason = std::string(Message(model.status()));
    }
  }
  const std::lock_guard lock(mutex_);
  entries_[name].state = any ? ModelState::kReady : ModelState::kUnavailable;
}

void Repository::Fail(const std::string& name, const absl::Status& status) {
  log::Error("model failed to load", {{"model", name}, {"reason", Message(status)}});
  const std::lock_guard lock(mutex_);
  entries_[name].state = ModelState::kUnavailable;
  entries_[name].reason = std::string(Message(status));
}

bool Repository::Ready() const {
  const std::lock_guard lock(mutex_);
  return loaded_;
}

absl::StatusOr<std::shared_ptr<Model>> Repository::Find(const std::string& name,
                                                        const std::string& version) const {
  const std::optional<std::int64_t> number = ParseVersion(version);
  if (!version.empty() && !number) {
    return absl::InvalidArgumentError(
        fmt::format("the version '{}' of model '{}' is no positive number", version, name));
  }
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) {
    return absl::NotFoundError(fmt::format("Request for unknown model: '{}' is not found", name));
  }
  if (!number) {
    const auto& versions = entry->second.versions;
    const auto latest = std::find_if(versions.rbegin(), versions.rend(), [](const auto& item) {
      return item.second.state == ModelState::kReady;
    });
    if (latest != versions.rend()) {
      return latest->second.model;
    }
    if (entry->second.state == ModelState::kLoading) {
      return absl::UnavailableError(fmt::format("model '{}' is loading", name));
    }
    return absl::NotFoundError(
        fmt::format("Request for unknown model: '{}' has no available versions", name));
  }
  const auto found = entry->second.versions.find(*number);
  if (found == entry->second.versions.end()) {
    return absl::NotFoundError(
        fmt::format("Request for unknown model: '{}' version {} is not found", name, *number));
  }
  if (found->second.state != ModelState::kReady) {
    return absl::UnavailableError(fmt::format(
        "model '{}' version {} is not at ready state: {}", name, *number,
        found->second.state == ModelState::kLoading ? "it is loading" : found->second.reason));
  }
  return found->second.model;
}

std::vector<std::int64_t> Repository::ReadyVersions(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::int64_t> ready;
  if (const auto entry = entries_.find(name); entry != entries_.end()) {
    for (const auto& [version, loaded] : entry->second.versions) {
      if (loaded.state == ModelState::kReady) {
        ready.push_back(version);
      }
    }
  }
  return ready;
}

std::vector<std::shared_ptr<Model>> Repository::ReadyModels() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Model>> ready;
  for (const auto& [name, entry] : entries_) {
    for (const auto& [version, loaded] : entry.versions) {
      if (loaded.state == ModelState::kReady) {
        ready.push_back(loaded.model);
      }
    }
  }
  return ready;
}

std::vector<IndexEntry> Repository::Index() const {
  const std::lock_guard lock(mutex_);
  std::vector<IndexEntry> index;
  for (const auto& [name, entry] : entries_) {
    if (entry.versions.empty()) {
      index.push_back({name, "", entry.state, entry.reason});
    }
    for (const auto& [version, loaded] : entry.versions) {
      index.push_back({name, std::to_string(version), loaded.state, loaded.reason});
    }
  }
  return index;
}

}  // namespace inferpool::modelserver
