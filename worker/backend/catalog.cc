#include "worker/backend/catalog.h"

#include <utility>

namespace inferpool::backend {

Catalog::Catalog(const Client& client, Clock::duration max_age)
    : client_(client), max_age_(max_age) {}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::Get(const std::string& name,
                                                          Deadline deadline) {
  {
    MutexLock lock(mutex_);
    while (true) {
      Entry& entry = entries_[name];
      const bool fresh = Clock::now() < entry.ask_again;
      if (entry.model != nullptr && (fresh || entry.asking)) return entry.model;
      if (!entry.asking) {
        entry.asking = true;
        break;
      }
      if (answered_.wait_until(lock.native(), deadline.at()) == std::cv_status::timeout) {
        return absl::DeadlineExceededError("the model server did not describe the model in time");
      }
    }
  }
  return Ask(name, deadline);
}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::Ask(const std::string& name,
                                                          Deadline deadline) {
  absl::StatusOr<ModelDescription> description = client_.Describe(name, deadline);
  std::shared_ptr<const Model> model;
  if (description.ok()) {
    absl::StatusOr<vision::ModelPlan> plan = vision::MakePlan(*description);
    model = std::make_shared<const Model>(Model{*std::move(description), std::move(plan)});
  }
  const MutexLock lock(mutex_);
  answered_.notify_all();
  Entry& entry = entries_[name];
  entry.asking = false;
  if (model != nullptr) {
    entry.model = model;
    entry.ask_again = Clock::now() + max_age_;
    return model;
  }
  // While the server is away, what is known serves on; the next Get asks again.
  // NOLINTNEXTLINE(bugprone-use-after-move): there is no model, so it was not
  if (entry.model != nullptr && !absl::IsNotFound(description.status())) return entry.model;
  entries_.erase(name);
  return description.status();
}

void Catalog::Forget(const std::string& name) {
  const MutexLock lock(mutex_);
  const auto it = entries_.find(name);
  if (it != entries_.end()) it->second.ask_again = {};
}

}  // namespace inferpool::backend
