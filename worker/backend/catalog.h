// What the worker knows of the model server's models, so that a request costs one call and not
// three. Thread safe.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <string>

#include "proto/model_description.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/client.h"
#include "worker/vision/model_plan.h"

namespace inferpool::backend {

struct Model {
  ModelDescription description;
  absl::StatusOr<vision::ModelPlan> plan;  // an error when worker/vision cannot use the model
};

class Catalog {
 public:
  // Entries are asked for again after `max_age`. `client` must outlive the catalog.
  explicit Catalog(const Client& client, Clock::duration max_age = std::chrono::seconds(5));

  // The model as it was known at most max_age ago; older only while the server is away. NOT_FOUND
  // when there is none of that name, and the client's errors. Of several threads one asks; the
  // others go on with what is known, or wait for the first answer.
  absl::StatusOr<std::shared_ptr<const Model>> Get(const std::string& name, Deadline deadline);

  // The next Get asks the server: its answer did not fit what we know of the model.
  void Forget(const std::string& name);

 private:
  struct Entry {
    std::shared_ptr<const Model> model;  // null while the first question is under way
    TimePoint ask_again{};
    bool asking = false;  // a thread asks the server
  };

  // Asks the server and settles the entry, which the calling thread has marked `asking`.
  absl::StatusOr<std::shared_ptr<const Model>> Ask(const std::string& name, Deadline deadline);

  const Client& client_;
  const Clock::duration max_age_;
  Mutex mutex_;
  std::condition_variable answered_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);  // only models the server has
};

}  // namespace inferpool::backend
