#include "worker/backend/catalog.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace inferpool::backend {
namespace {

// A server whose turn comes this much too late has not lost its share of the model.
constexpr std::chrono::seconds kSlack{1};
bool IsFresh(TimePoint ask_again, TimePoint now) {
  return now < ask_again + kSlack;
}
// For asking all servers of a model anew, while a request waits.
constexpr std::chrono::seconds kRenewal{1};
constexpr std::size_t kMaxNames = 1'000;

// The same model, described by these servers.
std::shared_ptr<const Model> With(const Model& model, std::vector<std::size_t> servers) {
  return std::make_shared<const Model>(
      Model{model.description, model.plan, std::move(servers), model.version});
}

absl::StatusOr<vision::ModelPlan> PlanOf(const ModelDescription& description) {
  RETURN_IF_ERROR(CheckHasTensors(description));
  return vision::MakePlan(description);
}

}  // namespace

Catalog::Catalog(const Client& client, Clock::duration max_age, SettingsByModel settings)
    : client_(client), max_age_(max_age), settings_(std::move(settings)) {}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::Get(const ModelVersion& asked,
                                                          Deadline deadline,
                                                          std::optional<std::size_t> avoid) {
  if (client_.targets() == 1) return GetFrom(asked, 0, deadline);
  const std::size_t turn = Turn(asked);
  const std::size_t first = client_.Pick(asked, turn, avoid);
  auto model = GetFrom(asked, first, deadline);
  if (model.ok()) return model;
  // It may be elsewhere: moved there, or there as well.
  const bool away = absl::IsUnavailable(model.status());
  if (!away && !absl::IsNotFound(model.status())) return model;
  std::size_t second = away ? client_.Pick(asked, turn, /*avoid=*/first) : first;
  if (second == first) {
    if (!client_.IsElsewhere(first, asked, away, deadline)) return model;
    second = client_.Pick(asked, turn, /*avoid=*/first);
  }
  return second == first ? model : GetFrom(asked, second, deadline);
}

ModelVersion Catalog::Resolve(const std::string& name, Deadline deadline) {
  const std::optional<ModelVersion> split = SplitVersion(name);
  if (!split) return {name};
  {
    const MutexLock lock(mutex_);
    const auto known = no_names_.find(name);
    if (known != no_names_.end() && Clock::now() < known->second) return *split;
  }
  const auto model = Get(ModelVersion{name}, deadline);
  if (model.ok()) return {name};
  if (absl::IsNotFound(model.status())) {
    const MutexLock lock(mutex_);
    if (no_names_.size() >= kMaxNames) no_names_.clear();
    no_names_[name] = Clock::now() + max_age_;
  }
  return *split;
}

std::size_t Catalog::Turn(const ModelVersion& model) {
  const MutexLock lock(mutex_);
  const auto known = turns_.find(model);
  return known == turns_.end() ? others_turn_++ : known->second++;
}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::GetFrom(const ModelVersion& asked,
                                                              std::size_t server, Deadline deadline,
                                                              TimePoint since) {
  {
    MutexLock lock(mutex_);
    while (true) {
      Entries& entries = entries_[asked];
      if (entries.empty()) {
        entries.resize(client_.targets());
        turns_[asked] = server + 1;  // so that the next request asks another one
      }
      Entry& entry = entries[server];
      const TimePoint now = Clock::now();
      const bool by_age = since == TimePoint();
      const bool will_do = by_age ? now < entry.ask_again || entry.asking : entry.asked >= since;
      if (entry.model != nullptr && will_do) return HandOut(entries, server, now);
      if (!by_age && will_do) return absl::NotFoundError("it was not there just now");
      if (!entry.asking) {
        entry.asking = true;
        break;
      }
      if (answered_.wait_until(lock.native(), deadline.at()) == std::cv_status::timeout) {
        return absl::DeadlineExceededError("the model server did not describe the model in time");
      }
    }
  }
  return Ask(asked, server, deadline);
}

absl::StatusOr<ModelDescription> Catalog::Describe(const ModelVersion& asked, std::size_t server,
                                                   Deadline deadline) const {
  absl::StatusOr<ModelDescription> description = client_.Describe(asked, server, deadline);
  const auto settings = settings_.find(asked.name);
  if (absl::IsUnimplemented(description.status()) && settings != settings_.end()) {
    description = ModelDescription();  // all that is known of it is in the settings
    description->name = asked.name;
    description->version = asked.version;
    description->has_config = false;
  }
  RETURN_IF_ERROR(description.status());
  if (settings != settings_.end()) Apply(settings->second, *description);
  return description;
}

absl::StatusOr<std::shared_ptr<const Model>> Catalog::Ask(const ModelVersion& asked,
                                                          std::size_t server, Deadline deadline) {
  const TimePoint begun = Clock::now();
  absl::StatusOr<ModelDescription> description = Describe(asked, server, deadline);
  const MutexLock lock(mutex_);
  answered_.notify_all();
  Entries& entries = entries_[asked];
  Entry& entry = entries[server];
  entry.asking = false;
  entry.asked = begun;
  const TimePoint now = Clock::now();
  if (description.ok()) {
    Enter(entries, server, *std::move(description), asked.version, now);
    entry.ask_again = now + max_age_;
    return HandOut(entries, server, now);
  }
  // While the server is away, what is known serves on; the next Get asks again.
  if (entry.model != nullptr && !absl::IsNotFound(description.status())) {
    return HandOut(entries, server, now);
  }
  Leave(entries, server);
  const bool is_idle = std::ranges::none_of(
      entries, [](const Entry& other) { return other.model != nullptr || other.asking; });
  if (is_idle) {
    entries_.erase(asked);
    turns_.erase(asked);
  }
  return description.status();
}

void Catalog::Enter(Entries& entries, std::size_t server, ModelDescription description,
                    const std::string& version, TimePoint now) {
  Entry& entry = entries[server];
  const auto like = std::ranges::find_if(entries, [&](const Entry& other) {
    return &other != &entry && other.model != nullptr && IsFresh(other.ask_again, now) &&
           other.model->description == description;
  });
  const bool is_same = entry.model != nullptr && entry.model->description == description;
  if (is_same && (like == entries.end() || like->model == entry.model)) return;
  Leave(entries, server);
  if (like == entries.end()) {
    absl::StatusOr<vision::ModelPlan> plan = PlanOf(description);
    entry.model = std::make_shared<const Model>(
        Model{std::move(description), std::move(plan), {server}, version});
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

std::shared_ptr<const Model> Catalog::HandOut(Entries& entries, std::size_t server, TimePoint now) {
  const std::shared_ptr<const Model> model = entries[server].model;
  for (const std::size_t member : model->servers) {
    if (member == server || IsFresh(entries[member].ask_again, now)) continue;
    Leave(entries, member);
    entries[member].model = With(*model, {member});
  }
  return entries[server].model;
}

void Catalog::Renew(const Model& model, Deadline deadline) {
  const TimePoint since = Clock::now();
  const Deadline soon(std::min(deadline.at(), since + kRenewal));
  for (const std::size_t server : model.servers) {
    static_cast<void>(GetFrom(model.asked(), server, soon, since));
  }
}

}  // namespace inferpool::backend
