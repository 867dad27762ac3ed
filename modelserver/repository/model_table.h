// The table of all models: which of their versions are ready, and why the others are not.
//
// Models are held by shared_ptr. A request in flight keeps the model that it found, so a version
// can be replaced without a gap. An ensemble is not loaded. It is ready exactly while the models of
// its steps are ready and fit it, which the table checks again whenever one of them changes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/config/class_names.h"
#include "modelserver/config/ensemble_plan.h"
#include "modelserver/repository/model.h"
#include "proto/model_config.pb.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

enum class ModelState { kLoading, kReady, kUnloading, kUnavailable };

// The state's name in the repository index: "LOADING", "READY", "UNLOADING", "UNAVAILABLE".
std::string_view ModelStateName(ModelState state);

struct IndexEntry {
  std::string name;
  std::string version;  // empty while the model's versions are not known
  ModelState state = ModelState::kLoading;
  std::string reason;  // why it is UNAVAILABLE, or why a READY version could not be replaced
};

// Thread safe. A call waits only for other calls, which take microseconds. Must outlive the models
// that it has returned, because ensembles find the models of their steps here.
class ModelTable {
 public:
  using Loaded = std::map<std::int64_t, absl::StatusOr<std::shared_ptr<Model>>>;

  // Makes the model LOADING, unless one of its versions is ready; then that stays ready.
  // UNAVAILABLE when the table is full with `max_models` models.
  absl::Status Expect(const std::string& name, std::size_t max_models);

  // Makes these versions of an expected model LOADING.
  void ExpectVersions(const std::string& name, const std::vector<std::int64_t>& versions);

  // Adds a version that was loaded, or its error, to a model of which no version was ready when it
  // was expected.
  void Publish(const std::string& name, std::int64_t version,
               absl::StatusOr<std::shared_ptr<Model>> model);

  // Replaces all versions of a model at once. Every one of `versions` is a model, not an error.
  void Replace(const std::string& name, Loaded&& versions);

  // Makes the model the ensemble of `config`, which has passed CheckConfig, in these versions.
  // Returns why the ensemble is not ready; then a model of that name that serves goes on serving.
  // The table logs how the ensemble's state changes later.
  absl::Status PublishEnsemble(const std::string& name, const std::vector<std::int64_t>& versions,
                               const inference::ModelConfig& config, OutputLabels labels);

  // Tells that loading has failed. Versions that are ready go on serving, with `reason` in the
  // index.
  void Fail(const std::string& name, std::string_view reason);

  // Makes all versions UNLOADING until their last requests in flight have ended, and UNAVAILABLE
  // after that. They take no new requests. Does nothing when the model is unknown.
  void Unload(const std::string& name);

  // Finds a model that is ready, with the errors of Repository::Find.
  absl::StatusOr<std::shared_ptr<Model>> Find(const std::string& name,
                                              const std::string& version) const;

  // Whether all versions of the model are ready, and there is one, and the last loading succeeded.
  bool Sound(const std::string& name) const;
  // Whether a version of the model is ready.
  bool Serving(const std::string& name) const;
  // Whether the model is LOADING. An ensemble is while a model of its steps is.
  bool Loading(const std::string& name) const;

  // The versions that are ready, in ascending order; empty for an unknown model.
  std::vector<std::int64_t> ReadyVersions(const std::string& name) const;

  // All models that are ready, ordered by name and version.
  std::vector<std::shared_ptr<Model>> ReadyModels() const;

  // The models of an ensemble's steps that are not in another ensemble.
  std::vector<std::string> OwnSteps(const std::string& name) const;

  // All models and versions, ordered by name and version.
  std::vector<IndexEntry> Index() const;

 private:
  struct Version {
    ModelState state = ModelState::kLoading;
    std::string reason = {};
    std::shared_ptr<Model> model = {};  // not null exactly when READY
    bool unloaded = false;
    std::weak_ptr<Model> going = {};  // when unloaded: what the last requests still use
  };
  struct Entry {
    ModelState state = ModelState::kLoading;  // while there are no versions
    std::string reason;
    std::map<std::int64_t, Version> versions;  // empty until the configuration is read
    std::optional<inference::ModelConfig> ensemble;
    OutputLabels ensemble_labels;
  };
  // Models that were removed under the lock, to be released without it: whoever releases a model
  // last frees it, which takes time. Declared before the lock, so that it ends after it.
  using Retired = std::vector<std::shared_ptr<Model>>;

  static bool Serves(const Entry& entry);
  static bool IsLoading(const Entry& entry);
  static ModelState StateOf(const Version& version);
  static void UnloadVersion(Version& version, Retired& retired);
  static bool IsGone(const Version& version);
  static void ForgetUnloaded(Entry& entry);
  static void KeepInstead(Entry& entry, std::string_view reason);

  Entry* EntryOf(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The configuration of the model if it is ready; null otherwise. An empty version is the latest.
  const inference::ModelConfig* ReadyConfig(const std::string& name,
                                            const std::string& version) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The number of levels of ensembles below `ensemble`; -1 when one contains itself. `heights`
  // keeps what was counted, so that the time is linear.
  int Height(const inference::ModelConfig& ensemble, std::map<std::string, int>& heights) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<EnsemblePlan> Plan(const inference::ModelConfig& ensemble) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Derives an ensemble's state from the states of its models. True when it has changed.
  [[nodiscard]] bool RefreshEnsemble(Entry& entry, bool logged, Retired& retired)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Refreshes all ensembles. The log does not name `published`, which its publisher logs.
  void RefreshEnsembles(Retired& retired, const Entry* published = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::modelserver
