// A folder of models in Triton's layout, loaded into a table of models (model_table.h):
//
//   <model>/config.pbtxt            optional when <version>/model.onnx says enough
//   <model>/labels.txt              optional, one class name a line
//   <model>/<version>/model.onnx    version folders are positive numbers; optional for backends
//                                   that have no file, and for ensembles
//   <model>/warmup/<file>           inputs of warm-ups
//
// Hidden folders and plain files are no models. A model that fails to load stays in the index as
// UNAVAILABLE with its reason and harms no other. One that is loaded again serves without a gap:
// requests in flight end on what they began with, new ones get the new as soon as it is ready, and
// when it fails the old one serves on.
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

// Who decides what is loaded, after the start. Triton's words.
enum class ModelControl {
  kNone,      // nobody
  kExplicit,  // Load and Unload
  kPoll,      // the folder: Poll
};

// "none", "explicit", "poll"; nothing for another word.
std::optional<ModelControl> ParseModelControl(std::string_view word);

struct RepositoryOptions {
  ModelControl control = ModelControl::kNone;
  // With kExplicit: what is loaded at the start; "*", alone, means every model.
  std::vector<std::string> load = {};
};

// What a load request may bring along.
struct LoadParameters {
  // The model's configuration as JSON, in place of config.pbtxt. For this load alone.
  std::optional<std::string> config;
  // The model's files, in place of all that its folder has; needs `config`.
  OverrideFiles files;
};

// Thread safe.
class Repository {
 public:
  explicit Repository(std::filesystem::path folder, RepositoryOptions options = {})
      : folder_(std::move(folder)), options_(std::move(options)) {}

  // Finds the models to load at the start, all LOADING from now on. Once, before Load. Error: the
  // folder cannot be read, or has over 1000 models; "*" is not alone.
  absl::Status Scan();

  // Loads them, several at a time; readers see each as soon as it is there. Once. `stopped` is
  // asked between models, by several threads; what is not loaded then stays LOADING.
  void Load(const std::function<bool()>& stopped);

  // Loads a model, or loads it again; an ensemble's models too, as far as they are not ready. A
  // model that is sound and whose files have not changed is left as it is. Returns when it is
  // ready, or why it is not: UNAVAILABLE unless the control is explicit, and when too many loads
  // wait; INTERNAL when the folder has no such model; INVALID_ARGUMENT when it does not load, or
  // for unsound parameters.
  absl::Status Load(const std::string& name, const LoadParameters& parameters);

  // The model takes no more requests; those in flight end. With `unload_dependents` the models of
  // an ensemble's steps go as well, unless another ensemble has them. Ensembles that have the model
  // as a step become UNAVAILABLE until it is back. Waits for a load of the model that is under way,
  // not for requests. OK for an unknown model, as Triton. Error: UNAVAILABLE unless the control is
  // explicit.
  absl::Status Unload(const std::string& name, bool unload_dependents);

  // Looks at the folder once, and loads and unloads what has changed (FolderWatch). After Load,
  // from one thread, again and again. `stopped` as in Load.
  void Poll(const std::function<bool()>& stopped);

  // Everything that can load has loaded and everything else has failed, so there is nothing to
  // wait for. (Triton's strict readiness asks that nothing failed; ours does not, as one
  // broken model must not take the others from their users.)
  bool Ready() const;

  // The model, to be held as long as it is used. `version` is a number; empty means the latest that
  // is ready. Errors: INVALID_ARGUMENT for a version that is no number; NOT_FOUND for an unknown
  // model or version, and a model without any version that loaded; UNAVAILABLE for an
  // explicit version that failed or was unloaded, and for what is still loading.
  absl::StatusOr<std::shared_ptr<Model>> Find(const std::string& name,
                                              const std::string& version) const {
    return table_.Find(name, version);
  }

  bool IsReady(const std::string& name, const std::string& version) const {
    return table_.Find(name, version).ok();
  }

  // The versions that are ready, ascending; empty for an unknown model.
  std::vector<std::int64_t> ReadyVersions(const std::string& name) const {
    return table_.ReadyVersions(name);
  }

  // The models that are ready, by name, then version.
  std::vector<std::shared_ptr<Model>> ReadyModels() const { return table_.ReadyModels(); }

  // By name, then version. With explicit control also what the folder has and nobody loaded.
  std::vector<IndexEntry> Index() const;

 private:
  // The names of the models' folders; says in the log, once a name, which are none.
  absl::StatusOr<std::vector<std::string>> ModelFolders();
  absl::Status CheckExplicit() const;
  absl::Status LoadWithSteps(const std::string& name, const LoadParameters& parameters,
                             std::vector<std::string>& visited);
  // With the model's load slot held, with the outcome in the table and the log.
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
