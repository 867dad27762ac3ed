#include "worker/backend/catalog.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace inferpool::backend {
namespace {

// The same model, described by these servers.
std::shared_ptr<const Model> With(const Model& model, std::vector<std::size_t> servers) {
  return std::make_shared<const Model>(Model{model.description, model.plan, std::move(servers)});
}

absl::StatusOr<vision::ModelPlan> PlanOf(const ModelDescription& description) {
  RETURN_IF_ERROR(CheckHasTensors(description));
  return vision::MakePlan(description);
}

}  // namespace

Catalog::Catalog(const Client& client, Clock::duration max_age, SettingsByModel settings)
    : client_(client), max_age_(max_age), settings_(std::move(settings)) {}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::Get(const std::string& name,
                                                          Deadline deadline) {
  const std::size_t first = client_.Pick(name);
  auto model = GetFrom(name, first, deadline);
  if (model.ok() || client_.targets() == 1) return model;
  // It may be elsewhere: moved there, or there as well.
  if (absl::IsNotFound(model.status()) &&
      !client_.IsElsewhere(first, {name}, /*away=*/false, deadline)) {
    return model;
  }
  if (!absl::IsNotFound(model.status()) && !absl::IsUnavailable(model.status())) return model;
  const std::size_t second = client_.Pick(name, /*avoid=*/first);
  return second == first ? model : GetFrom(name, second, deadline);
}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::GetFrom(const std::string& name,
                                                              std::size_t server,
                                                              Deadline deadline) {
  {
    MutexLock lock(mutex_);
    while (true) {
      Entries& entries = entries_[name];
      if (entries.empty()) entries.resize(client_.targets());
      Entry& entry = entries[server];
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
  return Ask(name, server, deadline);
}

absl::StatusOr<ModelDescription> Catalog::Describe(const std::string& name, std::size_t server,
                                                   Deadline deadline) const {
  absl::StatusOr<ModelDescription> description = client_.Describe(name, server, deadline);
  const auto settings = settings_.find(name);
  if (absl::IsUnimplemented(description.status()) && settings != settings_.end()) {
    description = ModelDescription();  // all that is known of it is in the settings
    description->name = name;
    description->has_config = false;
  }
  RETURN_IF_ERROR(description.status());
  if (settings != settings_.end()) Apply(settings->second, *description);
  return description;
}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::Ask(const std::string& name,
                                                          std::size_t server, Deadline deadline) {
  absl::StatusOr<ModelDescription> description = Describe(name, server, deadline);
  const MutexLock lock(mutex_);
  answered_.notify_all();
  Entries& entries = entries_[name];
  Entry& entry = entries[server];
  entry.asking = false;
  if (description.ok()) {
    Enter(entries, server, *std::move(description));
    entry.ask_again = Clock::now() + max_age_;
    return entry.model;
  }
  // While the server is away, what is known serves on; the next Get asks again.
  if (entry.model != nullptr && !absl::IsNotFound(description.status())) return entry.model;
  Leave(entries, server);
  const bool is_idle = std::ranges::none_of(
      entries, [](const Entry& other) { return other.model != nullptr || other.asking; });
  if (is_idle) entries_.erase(name);
  return description.status();
}

void Catalog::Enter(Entries& entries, std::size_t server, ModelDescription description) {
  Entry& entry = entries[server];
  if (entry.model != nullptr && entry.model->description == description) return;
  Leave(entries, server);
  const auto like = std::ranges::find_if(entries, [&](const Entry& other) {
    return other.model != nullptr && other.model->description == description;
  });
  if (like == entries.end()) {
    absl::StatusOr<vision::ModelPlan> plan = PlanOf(description);
    entry.model =
        std::make_shared<const Model>(Model{std::move(description), std::move(plan), {server}});
    return;
  }
  const std::shared_ptr<const Model> apart = like->model;
  std::vector<std::size_t> servers = apart->servers;
  servers.insert(std::ranges::upper_bound(servers, server), server);
  const std::shared_ptr<const Model> together = With(*apart, servers);
  for (const std::size_t member : servers) entries[member].model = together;
}

void Catalog::Leave(Entries& entries, std::size_t server) {
  const std::shared_ptr<const Model> model = std::exchange(entries[server].model, nullptr);
  if (model == nullptr || model->servers.size() == 1) return;
  std::vector<std::size_t> others = model->servers;
  std::erase(others, server);
  const std::shared_ptr<const Model> rest = With(*model, others);
  for (const std::size_t member : others) entries[member].model = rest;
}

void Catalog::Renew(const Model& model, Deadline deadline) {
  Forget(model.description.name);
  for (const std::size_t server : model.servers) {
    static_cast<void>(GetFrom(model.description.name, server, deadline));
  }
}

void Catalog::Forget(const std::string& name) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  for (Entry& entry : found->second) entry.ask_again = {};
}

}  // namespace inferpool::backend
