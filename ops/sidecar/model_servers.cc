#include "ops/sidecar/model_servers.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "shared/base/log.h"
#include "worker/backend/shm/shared_memory_probe.h"

namespace inferpool::ops {
namespace {

// /readyz must show a change within a second. For the worse: a pause and one unanswered question.
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr auto kPatience = std::chrono::milliseconds(500);
// For the better: the server must have answered for this long, in which the workers, each of which
// has a connection of its own, find it again too (worker/backend/rpc/channel.cc: up to 250 ms and a
// bit).
constexpr auto kSettle = std::chrono::milliseconds(500);

std::vector<std::string> EachOnce(const std::vector<std::string>& names) {
  std::vector<std::string> once;
  for (const std::string& name : names) {
    if (std::ranges::find(once, name) == once.end()) once.push_back(name);
  }
  return once;
}

}  // namespace

ModelServers::ModelServers(const Config& config)
    : client_(EachOnce(config.backend.targets), config.backend.message_mb,
              {.models = NamesOfModels(config), .always_watch = true}),
      must_share_(config.backend.transport == "shm") {
  for (std::size_t i = 0; i < client_.targets(); ++i) {
    const std::string name = client_.State(i).name;
    servers_.push_back({.shown = {name, false, "not asked yet"}, .memory = MemoryReadiness(name)});
  }
  for (std::size_t i = 0; must_share_ && i < client_.targets(); ++i) {
    memory_threads_.emplace_back([this, i, domain = config.state](const std::stop_token& stop) {
      AskOfMemory(stop, i, domain);
    });
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

ModelServers::~ModelServers() {
  for (std::jthread& thread : memory_threads_) thread.request_stop();
}

void ModelServers::AwaitFirst() {
  MutexLock lock(mutex_);
  asked_.wait(lock.native(), [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::ranges::all_of(servers_, &Watched::asked);
  });
}

std::vector<ModelServer> ModelServers::Latest() const {
  const MutexLock lock(mutex_);
  std::vector<ModelServer> latest;
  for (const Watched& server : servers_) {
    const std::size_t index = latest.size();
    latest.push_back(server.shown);
    if (!server.shown.ready) continue;  // what it had it has no longer, or nobody can have it
    for (auto& model : client_.directory().ReadyOn(index)) {
      latest.back().models.push_back(std::move(model.name));
    }
  }
  return latest;
}

void ModelServers::Run(const std::stop_token& stop) {
  const std::size_t servers = client_.targets();
  std::vector<backend::ReadinessChecks::Stub*> stubs;
  for (std::size_t i = 0; i < servers; ++i) stubs.push_back(&client_.stub(i));
  backend::ReadinessChecks checks(
      stubs, [this](std::size_t server) { return client_.directory().SignsOf(server); });
  while (!stop.stop_requested()) {
    for (std::size_t i = 0; i < servers; ++i) {
      if (!checks.IsOut(i)) checks.Ask(i, Deadline::After(kPatience));
    }
    const Deadline pause = Deadline::After(kPause);
    while (const auto answer = checks.Next(pause)) {
      Take(answer->server, answer->ready, answer->in_part);
    }
    for (std::size_t i = 0; i < servers; ++i) {
      if (checks.IsOverdue(i, Clock::now())) {
        Take(i, absl::DeadlineExceededError("the model server reads nothing"), false);
      }
    }
  }
}

void ModelServers::AskOfMemory(const std::stop_token& stop, std::size_t index,
                               const std::string& domain) {
  backend::SharedMemoryProbe probe(client_.calls(index), domain);
  MutexLock lock(mutex_);
  MemoryReadiness& memory = servers_[index].memory;
  while (!stop.stop_requested()) {
    if (Clock::now() >= memory.ask()) {
      lock.Unlock();
      const absl::Status answer = probe.Ask(stop);
      lock.Lock();
      memory.Record(answer, Clock::now());
    }
    wake_.wait_for(lock.native(), stop, kPause, [] { return false; });
  }
}

void ModelServers::Take(std::size_t index, absl::Status ready, bool in_part) {
  const TimePoint now = Clock::now();
  const MutexLock lock(mutex_);
  Watched& server = servers_[index];
  if (ready.ok()) {
    if (must_share_) {
      if (!server.memory.status()) return;  // soon
      ready = *server.memory.status();
    }
  } else {
    server.memory.Forget();
  }
  const bool first = !std::exchange(server.asked, true);
  asked_.notify_all();
  if (!ready.ok()) {
    server.good_since.reset();
  } else if (!server.good_since) {
    server.good_since = now;
  }
  // Found ready at the first look, it was ready before.
  if (ready.ok() && !server.shown.ready && !first && now - *server.good_since < kSettle) return;
  ModelServer seen{server.shown.target, ready.ok(),
                   ready.ok() && in_part ? "ready, but not all of its models are"
                   : ready.ok()          ? "ready"
                                         : std::string(Message(ready))};
  if (first || seen.ready != server.shown.ready ||
      (seen.ready && seen.detail != server.shown.detail)) {
    log::Info("model server",
              {{"target", seen.target}, {"ready", seen.ready}, {"detail", seen.detail}});
  }
  server.shown = std::move(seen);
}

}  // namespace inferpool::ops
