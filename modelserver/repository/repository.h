// Loads a folder of models in Triton's layout into a table of models (model_table.h):
//
//   <model>/config.pbtxt            optional when <version>/model.onnx says enough
//   <model>/labels.txt              optional, one class name per line
//   <model>/<version>/model.onnx    version folders are positive numbers; optional for backends
//                                   that have no file, and for ensembles
//   <model>/warmup/<file>           inputs of warm-ups
//
// Hidden folders and plain files are ignored. A model that fails to load is in the index as
// UNAVAILABLE, with the reason, and does not affect the others. A model that is loaded again serves
// without a gap: requests in flight end on the old one, new requests get the new one as soon as it
// is ready, and when it fails to load the old one goes on serving.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/execution/admission_limiter.h"
#include "modelserver/repository/file_override.h"
#include "modelserver/repository/load_limiter.h"
#include "modelserver/repository/model.h"
#include "modelserver/repository/model_folder.h"
#include "modelserver/repository/model_table.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// What decides which models are loaded after the start, as Triton's --model-control-mode.
enum class ModelControl {
  kNone,      // nothing changes
  kExplicit,  // clients: the calls Load and Unload
  kPoll,      // the folder, at which Poll looks
};

// Parses "none", "explicit" or "poll"; nullopt for another word.
std::optional<ModelControl> ParseModelControl(std::string_view word);

struct RepositoryOptions {
  ModelControl control = ModelControl::kNone;
  // With kExplicit: the models that are loaded at the start. "*", as the only one, stands for all.
  std::vector<std::string> load = {};
};

// What a load request brings along.
struct LoadParameters {
  // The model's configuration as JSON, which replaces config.pbtxt for this load only.
  std::optional<std::string> config;
  // The model's files, which replace all files of its folder. They need a `config`.
  OverrideFiles files;
};

// Thread safe.
class Repository {
 public:
  explicit Repository(std::filesystem::path folder, RepositoryOptions options = {})
      : folder_(std::move(folder)), options_(std::move(options)) {}

  // Finds the models to load at the start and makes them LOADING. To be called once, before Load.
  // INVALID_ARGUMENT when the folder cannot be read or has more than 1000 models, or the options
  // name something that cannot be loaded.
  absl::Status Scan();

  // Loads these models, several at a time. Each is ready as soon as it is loaded. To be called
  // once. When `stopped`, which several threads call, returns true, no more models are loaded and
  // the rest stay LOADING.
  void Load(const std::function<bool()>& stopped);

  // Loads a model, or loads it again, and returns when it is ready. Loads the models of an
  // ensemble's steps as well, unless they are ready. Does nothing when the model has loaded without
  // an error and its files have not changed since. UNAVAILABLE when the control is not explicit, or
  // too many loads wait; INTERNAL when the folder has no such model; INVALID_ARGUMENT when it does
  // not load, or the parameters are not valid.
  absl::Status Load(const std::string& name, const LoadParameters& parameters);

  // Unloads a model: it takes no more requests, and those in flight end. With `unload_dependents`
  // the models of an ensemble's steps are unloaded too, except those that another ensemble has.
  // Ensembles that have the model as a step are UNAVAILABLE until it is loaded again. Waits for a
  // load of the model, but not for requests. OK for an unknown model, as in Triton. UNAVAILABLE
  // when the control is not explicit.
  absl::Status Unload(const std::string& name, bool unload_dependents);

  // Looks at the folder, and loads and unloads what has changed (FolderWatch). To be called after
  // Load, again and again, by one thread. `stopped` is as in Load.
  void Poll(const std::function<bool()>& stopped);

  // True when each model that was to be loaded at the start has loaded or failed. Triton's strict
  // readiness requires that none failed. This one does not, because a broken model must not take
  // the others from their users.
  bool Ready() const;

  // Finds a model that is ready; the caller holds it while using it. `version` is a number, or
  // empty for the latest version that is ready. INVALID_ARGUMENT when the version is not a number;
  // NOT_FOUND when the model or version is unknown, or no version of the model has loaded;
  // UNAVAILABLE when the named version failed or was unloaded, or what is asked for is still
  // loading.
  absl::StatusOr<std::shared_ptr<Model>> Find(const std::string& name,
                                              const std::string& version) const {
    return table_.Find(name, version);
  }

  bool IsReady(const std::string& name, const std::string& version) const {
    return table_.Find(name, version).ok();
  }

  // The versions that are ready, in ascending order; empty for an unknown model.
  std::vector<std::int64_t> ReadyVersions(const std::string& name) const {
    return table_.ReadyVersions(name);
  }

  // The models that are ready, ordered by name and version.
  std::vector<std::shared_ptr<Model>> ReadyModels() const { return table_.ReadyModels(); }

  // All models and versions, ordered by name and version. With explicit control it includes the
  // models of the folder that were not loaded.
  std::vector<IndexEntry> Index() const;

 private:
  // The names of the models' folders. The log names each folder that is skipped once.
  absl::StatusOr<std::vector<std::string>> ModelFolders();
  absl::Status CheckExplicit() const;
  absl::Status LoadWithSteps(const std::string& name, const LoadParameters& parameters,
                             std::vector<std::string>& visited);
  // Loads the model, whose load slot the caller holds. The table and the log have the outcome.
  absl::Status LoadNow(const std::string& name, const LoadParameters& parameters);
  absl::Status TryLoad(const std::string& name, const LoadParameters& parameters);
  absl::Status LoadVersions(const std::string& name, const std::filesystem::path& model_folder,
                            const inference::ModelConfig& config);
  void UnloadNow(const std::string& name);
  void LoadEach(const std::vector<std::string>& names, const std::function<bool()>& stopped);
  void Remember(const std::string& name, std::optional<Fingerprint> state);

  const std::filesystem::path folder_;
  const RepositoryOptions options_;
  const std::shared_ptr<AdmissionLimiter> limiter_ = std::make_shared<AdmissionLimiter>();
  ModelTable table_;
  LoadLimiter load_limiter_{/*max_loads=*/4, /*max_waiting=*/64};

  mutable Mutex mutex_;
  bool loaded_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> at_start_ ABSL_GUARDED_BY(mutex_);
  // Folders that the log has named; at most kMaxModels.
  std::set<std::string> skipped_ ABSL_GUARDED_BY(mutex_);
  // What each model was loaded from, and what Poll has seen since.
  std::map<std::string, FolderWatch> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::modelserver
