// Which models there are, which of their versions can be asked, and why the others cannot.
//
// Models are held by shared_ptr: a request in flight keeps the one that it found, whatever becomes
// of it here, so a version is replaced without a gap. An ensemble has no loading of its own: it is
// ready exactly while its models are and fit, which is decided anew whenever one of them changes.
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

// The index's word: "LOADING", "READY", "UNLOADING", "UNAVAILABLE".
std::string_view ModelStateName(ModelState state);

struct IndexEntry {
  std::string name;
  std::string version;  // empty when the model failed before its versions were known
  ModelState state = ModelState::kLoading;
  std::string reason;  // why it is UNAVAILABLE; why a READY one could not be replaced
};

// Thread safe; no call waits for more than the others' few microseconds. Must outlive the models
// that it has given out, as ensembles look up their steps here.
class ModelTable {
 public:
  using Loaded = std::map<std::int64_t, absl::StatusOr<std::shared_ptr<Model>>>;

  // The model is LOADING from now on, unless a version of it is ready, which stays so. Error:
  // UNAVAILABLE when there are `max_models` models.
  absl::Status Expect(const std::string& name, std::size_t max_models);
  void ExpectVersions(const std::string& name, const std::vector<std::int64_t>& versions);

  // One more version's fate, of a model that had none ready when it was expected.
  void Publish(const std::string& name, std::int64_t version,
               absl::StatusOr<std::shared_ptr<Model>> model);

  // All versions at once, in place of those there were.
  void Replace(const std::string& name, Loaded&& versions);

  // The model is the ensemble that the checked `config` says. Error: why it is not ready; if one of
  // that name serves, it stays. What becomes of it later is logged here.
  absl::Status PublishEnsemble(const std::string& name, const std::vector<std::int64_t>& versions,
                               const inference::ModelConfig& config, OutputLabels labels);

  // Loading has failed. What is ready serves on, with `reason` in the index.
  void Fail(const std::string& name, std::string_view reason);

  // No version takes requests any more: UNLOADING until the last in flight has ended, then
  // UNAVAILABLE. Unknown models are ignored.
  void Unload(const std::string& name);

  // The model, to be held as long as it is used; see Repository.
  absl::StatusOr<std::shared_ptr<Model>> Find(const std::string& name,
                                              const std::string& version) const;

  // Whether the model has versions and all are ready, and the last loading has not failed.
  bool Sound(const std::string& name) const;
  // Whether any version is ready.
  bool Serving(const std::string& name) const;
  // Whether it is LOADING: an ensemble, as long as its models are.
  bool Loading(const std::string& name) const;

  // The versions that are ready, ascending; empty for an unknown model.
  std::vector<std::int64_t> ReadyVersions(const std::string& name) const;

  // All that are ready, by name, then version.
  std::vector<std::shared_ptr<Model>> ReadyModels() const;

  // The models of an ensemble's steps that no other ensemble here has.
  std::vector<std::string> OwnSteps(const std::string& name) const;

  // By name, then version.
  std::vector<IndexEntry> Index() const;

 private:
  struct Version {
    ModelState state = ModelState::kLoading;
    std::string reason = {};
    std::shared_ptr<Model> model = {};  // exactly when READY
    bool unloaded = false;
    std::weak_ptr<Model> going = {};  // what the last requests of an unloaded one still use
  };
  struct Entry {
    ModelState state = ModelState::kLoading;  // while there are no versions
    std::string reason;
    std::map<std::int64_t, Version> versions;  // known once the configuration is read
    std::optional<inference::ModelConfig> ensemble;
    OutputLabels ensemble_labels;
  };
  // Models that nobody is given any more, to be let go of without the lock: the last one to hold a
  // model frees it, which takes time.
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
