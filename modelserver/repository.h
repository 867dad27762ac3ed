// A folder of models in Triton's layout, and what became of each of them:
//
//   <model>/config.pbtxt            optional when <version>/model.onnx says enough
//   <model>/labels.txt              optional, one class name a line
//   <model>/<version>/model.onnx    version folders are positive numbers; optional for backends
//                                   that have no file
//
// A model that fails to load stays in the index as UNAVAILABLE with its reason and harms no other.
// Thread safe. Hidden folders and plain files are no models.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/model.h"
#include "shared/status.h"

namespace inferpool::modelserver {

enum class ModelState { kLoading, kReady, kUnavailable };

// The index's word: "LOADING", "READY", "UNAVAILABLE".
std::string_view ModelStateName(ModelState state);

struct IndexEntry {
  std::string name;
  std::string version;  // empty when the model failed before its versions were known
  ModelState state = ModelState::kLoading;
  std::string reason;  // why it is UNAVAILABLE
};

class Repository {
 public:
  explicit Repository(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Finds the models, all LOADING from now on. Once, before Load. Error: the folder cannot be read,
  // or has over 1000 models.
  absl::Status Scan();

  // Loads model after model; readers see each as soon as it is there. Once. `stopped` is asked
  // between models; what is not loaded then stays LOADING.
  void Load(const std::function<bool()>& stopped);

  // Everything that can load has loaded and everything else has failed, so there is nothing to
  // wait for. (Triton's strict readiness asks that nothing failed; ours does not, as one
  // broken model must not take the others from their users.)
  bool Ready() const;

  // The model, to be held as long as it is used. `version` is a number; empty means the latest that
  // is ready. Errors: INVALID_ARGUMENT for a version that is no number; NOT_FOUND for an unknown
  // model or version, and a model without any version that loaded; UNAVAILABLE for an
  // explicit version that failed, and for what is still loading.
  absl::StatusOr<std::shared_ptr<Model>> Find(const std::string& name,
                                              const std::string& version) const;

  // The versions that are ready, ascending; empty for an unknown model.
  std::vector<std::int64_t> ReadyVersions(const std::string& name) const;

  // The models that are ready, by name, then version.
  std::vector<std::shared_ptr<Model>> ReadyModels() const;

  // By name, then version.
  std::vector<IndexEntry> Index() const;

 private:
  struct Version {
    ModelState state = ModelState::kLoading;
    std::string reason;
    std::shared_ptr<Model> model;  // exactly when READY
  };
  struct Entry {
    ModelState state = ModelState::kLoading;
    std::string reason;                        // why no version was tried
    std::map<std::int64_t, Version> versions;  // known once the configuration is read
  };

  void LoadModel(const std::string& name);
  void Fail(const std::string& name, const absl::Status& status);

  const std::filesystem::path folder_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  bool loaded_ = false;
  std::map<std::string, Entry> entries_;
};

}  // namespace inferpool::modelserver
