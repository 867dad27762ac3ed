// What the worker knows of the model server's models, so that a request costs one call and not
// three. Thread safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "shared/deadline.h"
#include "shared/status.h"
#include "worker/backend/client.h"
#include "worker/vision/family.h"
#include "worker/vision/model.h"

namespace inferpool::backend {

struct Model {
  vision::ModelDescription description;
  absl::StatusOr<vision::Plan> plan;  // an error when worker/vision cannot use the model
};

class Catalog {
 public:
  // Entries are asked for anew after `max_age`. `client` must outlive the catalog.
  explicit Catalog(const Client& client, Clock::duration max_age = std::chrono::seconds(5));

  // The model as it was known at most max_age ago; older only while the server is away. NOT_FOUND
  // when there is none of that name, and the client's errors.
  absl::StatusOr<std::shared_ptr<const Model>> Get(const std::string& name, Deadline deadline);

  // The next Get asks the server: its answer did not fit what we know of the model.
  void Forget(const std::string& name);

 private:
  struct Entry {
    std::shared_ptr<const Model> model;
    TimePoint ask_again;
  };

  const Client& client_;
  const Clock::duration max_age_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // guarded by mutex_; only models that the server has
};

}  // namespace inferpool::backend
