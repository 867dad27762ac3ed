// What the worker knows of the model servers' models, so that a request costs one call and not
// three. Thread safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/model_description.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "worker/backend/model_settings.h"
#include "worker/backend/rpc/client.h"
#include "worker/vision/model_plan.h"

namespace inferpool::backend {

struct Model {
  ModelDescription description;
  absl::StatusOr<vision::ModelPlan> plan;  // an error when worker/vision cannot use the model
  // The servers that describe it so, in order: only they are asked for its inference. During a
  // rollout there may be several models of one name.
  std::vector<std::size_t> servers = {};
  std::string version = {};  // that was asked for; empty: whichever the server chooses

  // As it is asked for.
  ModelVersion asked() const { return {description.name, version}; }
};

class Catalog {
 public:
  static constexpr std::chrono::seconds kMaxAge{5};

  // Entries are asked for again after `max_age`. `client` must outlive the catalog.
  explicit Catalog(const Client& client, Clock::duration max_age = kMaxAge,
                   SettingsByModel settings = {});

  // The model, on a server whose turn it is, as it was known at most max_age ago; older only while
  // the server is away. NOT_FOUND when no server has one of that name, and the client's errors. Of
  // several threads one asks; the others go on with what is known, or wait for the first answer.
  // `avoid`: a server whose turn it is only when no other one has the model.
  absl::StatusOr<std::shared_ptr<const Model>> Get(const ModelVersion& model, Deadline deadline,
                                                   std::optional<std::size_t> avoid = {});
  absl::StatusOr<std::shared_ptr<const Model>> Get(const std::string& name, Deadline deadline,
                                                   std::optional<std::size_t> avoid = {}) {
    return Get(ModelVersion{name}, deadline, avoid);
  }

  // What a name in a path means: "yolo@4" is the version 4 of yolo, unless a model has just that
  // name. Servers are asked for such a model at most once in max_age.
  ModelVersion Resolve(const std::string& name, Deadline deadline);

  // Asks those that described it so, anew and at once: what they say is of after this call's begin,
  // whoever else asks. Waits a second at most.
  void Renew(const Model& model, Deadline deadline);

 private:
  // What is known of a model on one server.
  struct Entry {
    std::shared_ptr<const Model> model;  // null while the first question is under way
    TimePoint asked{};                   // when the question was begun that it answered last
    TimePoint ask_again{};
    bool asking = false;  // a thread asks the server
  };
  using Entries = std::vector<Entry>;  // by server

  // Whose turn it is for the model.
  std::size_t Turn(const ModelVersion& model);

  // `since`: nothing is good enough that was asked for before.
  absl::StatusOr<std::shared_ptr<const Model>> GetFrom(const ModelVersion& asked,
                                                       std::size_t server, Deadline deadline,
                                                       TimePoint since = {});

  // Asks the server and settles the entry, which the calling thread has marked `asking`.
  absl::StatusOr<std::shared_ptr<const Model>> Ask(const ModelVersion& asked, std::size_t server,
                                                   Deadline deadline);

  absl::StatusOr<ModelDescription> Describe(const ModelVersion& asked, std::size_t server,
                                            Deadline deadline) const;

  // Enters what the server says, and shares the model with the servers that say the same.
  static void Enter(Entries& entries, std::size_t server, ModelDescription description,
                    const std::string& version, TimePoint now);
  // The model of the server, with those alone that have said the same lately: of the others nobody
  // knows whether they still do. They keep what is known of them for themselves.
  static std::shared_ptr<const Model> HandOut(Entries& entries, std::size_t server, TimePoint now);
  // The server says so no longer.
  static void Leave(Entries& entries, std::size_t server);

  const Client& client_;
  const Clock::duration max_age_;
  const SettingsByModel settings_;
  Mutex mutex_;
  std::condition_variable answered_;
  std::map<ModelVersion, Entries> entries_ ABSL_GUARDED_BY(mutex_);  // only models a server has
  // By the same names, so that each model goes round the servers for itself; and of all others.
  std::map<ModelVersion, std::size_t> turns_ ABSL_GUARDED_BY(mutex_);
  // Names with an '@' that no model has, and until when they are believed to be none's.
  std::map<std::string, TimePoint> no_names_ ABSL_GUARDED_BY(mutex_);
  std::size_t others_turn_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inferpool::backend
