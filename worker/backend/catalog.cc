#include "worker/backend/catalog.h"

#include <utility>

namespace inferpool::backend {

Catalog::Catalog(const Client& client, Clock::duration max_age)
    : client_(client), max_age_(max_age) {}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::Get(const std::string& name,
                                                          Deadline deadline) {
  std::shared_ptr<const Model> known;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(name);
    if (it != entries_.end()) {
      const TimePoint now = Clock::now();
      if (now < it->second.ask_again) return it->second.model;
      known = it->second.model;
      // This thread asks; the others go on with what is known.
      it->second.ask_again = now + max_age_;
    }
  }
  absl::StatusOr<vision::ModelDescription> description = client_.Describe(name, deadline);
  if (!description.ok()) {
    if (known != nullptr && !absl::IsNotFound(description.status())) return known;
    Forget(name);
    return description.status();
  }
  absl::StatusOr<vision::Plan> plan = vision::MakePlan(*description);
  auto model = std::make_shared<const Model>(Model{*std::move(description), std::move(plan)});
  const std::lock_guard lock(mutex_);
  entries_[name] = {model, Clock::now() + max_age_};
  return model;
}

void Catalog::Forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  entries_.erase(name);
}

}  // namespace inferpool::backend
