#include "modelserver/repository/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "modelserver/config/class_names.h"
#include "modelserver/config/config_check.h"
#include "modelserver/config/config_file.h"
#include "modelserver/execution/batch_queue.h"
#include "shared/base/log.h"
#include "shared/base/processors.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxModels = 1000;
constexpr unsigned kLoadThreads = 4;  // each load keeps one core busy
constexpr std::string_view kEveryModel = "*";

// Engines catch the exceptions of their libraries. This catches what was overlooked, and memory
// that ran out, so that the other models are not lost with this one.
absl::StatusOr<std::shared_ptr<Model>> LoadVersion(
    const std::filesystem::path& folder, std::int64_t version, const inference::ModelConfig& config,
    const std::shared_ptr<AdmissionLimiter>& limiter) {
  try {
    ASSIGN_OR_RETURN(std::unique_ptr<Model> model, Model::Load(folder, version, config, limiter));
    return std::shared_ptr<Model>(std::move(model));
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

bool IsControl(char c) {
  return std::iscntrl(static_cast<unsigned char>(c)) != 0;
}

// A request's model name becomes a path.
absl::Status CheckModelName(std::string_view name) {
  if (name.find_first_not_of(" \t\n\v\f\r") == std::string_view::npos) {
    return InvalidArgument("a model's name cannot be empty");
  }
  if (name == "." || name == ".." || name.size() > 255 || !IsUtf8(name) ||
      name.find('/') != std::string_view::npos || std::ranges::any_of(name, IsControl)) {
    return InvalidArgument("a model's name is the plain name of a folder");
  }
  return absl::OkStatus();
}

bool IsModelName(std::string_view name) {
  return CheckModelName(name).ok();
}

absl::StatusOr<inference::ModelConfig> ReadConfig(const std::string& name,
                                                  const std::filesystem::path& model_folder,
                                                  const LoadParameters& parameters) {
  return parameters.config ? ParseConfigJson(*parameters.config, name)
                           : ReadConfigFile(model_folder / "config.pbtxt", name);
}

}  // namespace

std::optional<ModelControl> ParseModelControl(std::string_view word) {
  if (word == "none") return ModelControl::kNone;
  if (word == "explicit") return ModelControl::kExplicit;
  if (word == "poll") return ModelControl::kPoll;
  return std::nullopt;
}

absl::StatusOr<std::vector<std::string>> Repository::ModelFolders() {
  std::vector<std::string> skipped;
  absl::StatusOr<std::vector<std::string>> names = SubFolders(folder_, kMaxModels, &skipped);
  const MutexLock lock(mutex_);
  for (const std::string& name : skipped) {
    if (skipped_.size() < kMaxModels && skipped_.insert(name).second) {
      log::Warning("a folder is skipped: its name is not UTF-8 or has control characters",
                   {{"folder", name}});
    }
  }
  return names;
}

absl::Status Repository::Scan() {
  ASSIGN_OR_RETURN(std::vector<std::string> names, ModelFolders());
  const bool every = std::ranges::find(options_.load, kEveryModel) != options_.load.end();
  if (every && options_.load.size() > 1) {
    return InvalidArgument("\"*\" loads every model, so nothing else is to be named");
  }
  if (options_.control != ModelControl::kExplicit && !options_.load.empty()) {
    return InvalidArgument("models to load are named under explicit model control only");
  }
  if (options_.control == ModelControl::kExplicit && !every) {
    names = options_.load;
    if (!std::ranges::all_of(names, IsModelName)) {
      return InvalidArgument("a model to load is named by the plain name of its folder");
    }
  }
  for (const std::string& name : names) {
    RETURN_IF_ERROR(table_.Expect(name, kMaxModels));
  }
  const MutexLock lock(mutex_);
  at_start_ = std::move(names);
  return absl::OkStatus();
}

void Repository::Load(const std::function<bool()>& stopped) {
  std::vector<std::string> names;
  {
    const MutexLock lock(mutex_);
    names = at_start_;
  }
  LoadEach(names, stopped);
  if (!stopped()) {
    const MutexLock lock(mutex_);
    loaded_ = true;
  }
}

absl::Status Repository::Load(const std::string& name, const LoadParameters& parameters) {
  RETURN_IF_ERROR(CheckExplicit());
  RETURN_IF_ERROR(CheckModelName(name));
  if (!parameters.files.empty() && !parameters.config) {
    return InvalidArgument("failed to load '{}', files need a configuration to go with them", name);
  }
  std::vector<std::string> visited;
  return LoadWithSteps(name, parameters, visited);
}

absl::Status Repository::Unload(const std::string& name, bool unload_dependents) {
  RETURN_IF_ERROR(CheckExplicit());
  std::vector<std::string> names{name};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string unloading = names[i];
    if (unload_dependents) {
      for (std::string& step : table_.OwnSteps(unloading)) {
        if (std::ranges::find(names, step) == names.end()) {
          names.push_back(std::move(step));
        }
      }
    }
    ASSIGN_OR_RETURN(const LoadSlot slot,
                     load_limiter_.Take(unloading, LoadLimiter::Kind::kUnload));
    UnloadNow(unloading);
  }
  return absl::OkStatus();
}

void Repository::Poll(const std::function<bool()>& stopped) {
  const absl::StatusOr<std::vector<std::string>> names = ModelFolders();
  if (!names.ok()) {
    log::Warning("cannot poll the repository", {{"reason", Message(names.status())}});
    return;
  }
  std::map<std::string, std::optional<Fingerprint>> looks;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, watch] : watches_) looks[name];
  }
  for (const std::string& name : *names) {
    looks[name] = FingerprintOf(folder_ / name);
  }
  std::vector<std::string> load;
  std::vector<std::string> unload;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, state] : looks) {
      const FolderWatch::Change change = watches_[name].Look(state);
      if (change == FolderWatch::Change::kLoad) load.push_back(name);
      if (change == FolderWatch::Change::kUnload) unload.push_back(name);
    }
  }
  for (const std::string& name : unload) {
    const absl::StatusOr<LoadSlot> slot = load_limiter_.Take(name, LoadLimiter::Kind::kUnload);
    UnloadNow(name);
  }
  LoadEach(load, stopped);
}

bool Repository::Ready() const {
  const MutexLock lock(mutex_);
  return loaded_;
}

std::vector<IndexEntry> Repository::Index() const {
  std::vector<IndexEntry> index = table_.Index();
  if (options_.control != ModelControl::kExplicit) {
    return index;
  }
  const absl::StatusOr<std::vector<std::string>> names = SubFolders(folder_, kMaxModels);
  if (names.ok()) {
    std::vector<IndexEntry> unloaded;
    for (const std::string& name : *names) {
      if (!std::ranges::binary_search(index, name, {}, &IndexEntry::name)) {
        unloaded.push_back({name, "", ModelState::kUnavailable, "unloaded"});
      }
    }
    index.insert(index.end(), unloaded.begin(), unloaded.end());
    std::ranges::stable_sort(index, {}, &IndexEntry::name);
  }
  return index;
}

absl::Status Repository::CheckExplicit() const {
  if (options_.control == ModelControl::kExplicit) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(fmt::format(
      "models are loaded and unloaded on request only under explicit model control; this server "
      "{}",
      options_.control == ModelControl::kPoll ? "polls its repository"
                                              : "has none: it loads models when it starts"));
}

absl::Status Repository::LoadWithSteps(const std::string& name, const LoadParameters& parameters,
                                       std::vector<std::string>& visited) {
  visited.push_back(name);
  std::error_code error;
  if (parameters.files.empty() && !std::filesystem::is_directory(folder_ / name, error)) {
    return absl::InternalError(
        fmt::format("failed to load '{}', failed to poll from model repository", name));
  }
  if (const auto config = ReadConfig(name, folder_ / name, parameters);
      config.ok() && IsEnsemble(*config)) {
    for (const auto& step : config->ensemble_scheduling().step()) {
      const std::string& model = step.model_name();
      if (IsModelName(model) && !table_.Serving(model) &&
          std::ranges::find(visited, model) == visited.end()) {
        // What went wrong is in the log and the index; the ensemble says what it lacks.
        LoadWithSteps(model, {}, visited).IgnoreError();
      }
    }
  }
  ASSIGN_OR_RETURN(const LoadSlot slot, load_limiter_.Take(name, LoadLimiter::Kind::kLoad));
  if (!parameters.config && table_.Sound(name)) {
    const MutexLock lock(mutex_);
    const auto watch = watches_.find(name);
    if (watch != watches_.end() && watch->second.acted() &&
        watch->second.acted() == FingerprintOf(folder_ / name)) {
      return absl::OkStatus();
    }
  }
  const absl::Status status = LoadNow(name, parameters);
  return status.ok() ? status : InvalidArgument("failed to load '{}', {}", name, Message(status));
}

absl::Status Repository::LoadNow(const std::string& name, const LoadParameters& parameters) {
  absl::Status status = table_.Expect(name, kMaxModels);
  if (status.ok()) {
    try {
      status = TryLoad(name, parameters);
    } catch (const std::exception& error) {
      status = absl::InternalError(error.what());
      table_.Fail(name, error.what());
    }
  }
  if (!status.ok() && table_.Loading(name)) {
    log::Info("ensemble waits for its models", {{"model", name}, {"reason", Message(status)}});
  } else if (!status.ok()) {
    log::Error("model failed to load",
               {{"model", name}, {"reason", Message(status)}, {"serves_on", table_.Serving(name)}});
  }
  return status;
}

absl::Status Repository::TryLoad(const std::string& name, const LoadParameters& parameters) {
  const auto failed = [&](const absl::Status& status) {
    table_.Fail(name, Message(status));
    return status;
  };
  std::unique_ptr<FileOverride> files;  // removed when all is loaded
  std::filesystem::path model_folder = folder_ / name;
  if (!parameters.files.empty()) {
    absl::StatusOr<std::unique_ptr<FileOverride>> written = FileOverride::Write(parameters.files);
    if (!written.ok()) return failed(written.status());
    files = *std::move(written);
    model_folder = files->folder();
  }
  // Before the files are read, so that a change from now on is noticed.
  Remember(name, parameters.config ? std::nullopt : FingerprintOf(model_folder));
  absl::StatusOr<inference::ModelConfig> config = ReadConfig(name, model_folder, parameters);
  if (!config.ok()) return failed(config.status());
  for (const std::string& setting : UnusedSettings(*config)) {
    log::Warning("model setting has no effect", {{"model", name}, {"setting", setting}});
  }
  if (const std::size_t size = LargestQueue(*config); size > kMaxRequestsPerModel) {
    log::Warning("max_queue_size is more than a model has places",
                 {{"model", name}, {"max_queue_size", size}, {"places", kMaxRequestsPerModel}});
  }
  if (!IsEnsemble(*config)) {
    return LoadVersions(name, model_folder, *config);
  }
  if (const absl::Status status = CheckConfig(*config); !status.ok()) return failed(status);
  absl::StatusOr<OutputLabels> labels = AddClassNames(model_folder, {}, *config);
  if (!labels.ok()) return failed(labels.status());
  config->set_platform("ensemble");
  FillDefaults(*config);
  const absl::StatusOr<std::vector<std::int64_t>> versions = VersionsToLoad(model_folder, *config);
  if (!versions.ok()) return failed(versions.status());
  RETURN_IF_ERROR(table_.PublishEnsemble(name, *versions, *config, *std::move(labels)));
  log::Info("model ready", {{"model", name}, {"ensemble", true}});
  return absl::OkStatus();
}

absl::Status Repository::LoadVersions(const std::string& name,
                                      const std::filesystem::path& model_folder,
                                      const inference::ModelConfig& config) {
  const absl::StatusOr<std::vector<std::int64_t>> versions = VersionsToLoad(model_folder, config);
  if (!versions.ok()) {
    table_.Fail(name, Message(versions.status()));
    return versions.status();
  }
  // At the first load each version is published as soon as it is there. Later all versions are
  // replaced together.
  const bool replaces = table_.Serving(name);
  if (!replaces) {
    table_.ExpectVersions(name, *versions);
  }
  absl::Status first_error;
  ModelTable::Loaded loaded;
  for (const std::int64_t version : *versions) {
    const TimePoint start = Clock::now();
    absl::StatusOr<std::shared_ptr<Model>> model =
        LoadVersion(model_folder, version, config, limiter_);
    const std::chrono::duration<double, std::milli> took = Clock::now() - start;
    if (model.ok()) {
      log::Info("model ready", {{"model", name}, {"version", version}, {"took_ms", took.count()}});
    } else {
      first_error.Update(absl::Status(
          model.status().code(), fmt::format("version {}: {}", version, Message(model.status()))));
    }
    if (replaces) {
      loaded.emplace(version, std::move(model));
    } else {
      table_.Publish(name, version, std::move(model));
    }
  }
  if (replaces && first_error.ok()) {
    table_.Replace(name, std::move(loaded));
  } else if (replaces) {
    table_.Fail(name, Message(first_error));
  }
  return first_error;
}

void Repository::UnloadNow(const std::string& name) {
  if (table_.Serving(name)) {
    log::Info("model unloaded", {{"model", name}});
  }
  table_.Unload(name);
  const MutexLock lock(mutex_);
  watches_.erase(name);
}

void Repository::LoadEach(const std::vector<std::string>& names,
                          const std::function<bool()>& stopped) {
  std::atomic<std::size_t> next = 0;
  const auto load = [&] {
    for (std::size_t i = next++; i < names.size() && !stopped(); i = next++) {
      const absl::StatusOr<LoadSlot> slot = load_limiter_.Take(names[i], LoadLimiter::Kind::kLoad);
      if (slot.ok()) {
        LoadNow(names[i], {}).IgnoreError();
      } else {
        table_.Fail(names[i], Message(slot.status()));
      }
    }
  };
  const std::size_t threads = std::min<std::size_t>(
      names.size(), std::clamp(static_cast<unsigned>(UsableProcessors()), 1U, kLoadThreads));
  std::vector<std::jthread> helpers;
  for (std::size_t i = 1; i < threads; ++i) {
    helpers.emplace_back(load);
  }
  load();
}

void Repository::Remember(const std::string& name, std::optional<Fingerprint> state) {
  const MutexLock lock(mutex_);
  watches_[name].Acted(state);
}

}  // namespace inferpool::modelserver
