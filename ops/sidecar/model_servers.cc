#include "ops/sidecar/model_servers.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "shared/base/log.h"
#include "worker/backend/shm/shared_memory_probe.h"
#include "worker/backend/shm/shared_regions.h"

namespace inferpool::ops {
namespace {

// /readyz must show a change within a second. For the worse: a pause and one unanswered question.
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr auto kPatience = std::chrono::milliseconds(500);
// For the better: the server must have answered for this long, in which the workers, each of which
// has a connection of its own, find it again too (worker/backend/rpc/channel.cc: up to 250 ms and a
// bit).
constexpr auto kSettle = std::chrono::milliseconds(500);
// Whether a server takes shared memory: one that does may be started anew unnoticed.
constexpr auto kMemoryPause = std::chrono::milliseconds(100);
constexpr auto kRefusedPause = std::chrono::milliseconds(500);
constexpr auto kTakenPause = std::chrono::seconds(5);

std::vector<std::string> EachOnce(const std::vector<std::string>& names) {
  std::vector<std::string> once;
  for (const std::string& name : names) {
    if (std::ranges::find(once, name) == once.end()) once.push_back(name);
  }
  return once;
}

std::vector<std::string> NamesOf(const Config::Models& models) {
  std::vector<std::string> names;
  for (const auto& [name, model] : models) names.push_back(name);
  return names;
}

}  // namespace

ModelServers::ModelServers(const Config& config)
    : client_(EachOnce(config.backend.targets), config.backend.message_mb,
              {.models = NamesOf(config.models), .always_watch = true}),
      must_share_(config.backend.transport == "shm") {
  for (std::size_t i = 0; i < client_.targets(); ++i) {
    servers_.push_back({.shown = {client_.State(i).name, false, "not asked yet"}});
    if (!must_share_) servers_.back().memory = absl::OkStatus();
  }
  if (must_share_) {
    memory_thread_ = std::jthread(
        [this, domain = config.state](const std::stop_token& stop) { AskOfMemory(stop, domain); });
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
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

void ModelServers::AskOfMemory(const std::stop_token& stop, const std::string& domain) {
  std::vector<backend::SharedMemoryProbe> probes;
  for (std::size_t i = 0; i < client_.targets(); ++i) probes.emplace_back(client_.calls(i), domain);
  MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    for (std::size_t i = 0; i < probes.size(); ++i) {
      if (Clock::now() < servers_[i].ask_of_memory) continue;
      lock.Unlock();
      absl::Status answer = probes[i].Ask(Deadline::After(kPatience));
      lock.Lock();
      Watched& server = servers_[i];
      // One that is away is asked again, so that it is known when it is back.
      const bool away = absl::IsUnavailable(answer);
      server.ask_of_memory = Clock::now() + (answer.ok() ? kTakenPause
                                             : away      ? kMemoryPause
                                                         : kRefusedPause);
      if (!answer.ok() && !away) {
        answer = absl::UnavailableError(backend::WhatToDo(server.shown.target, answer));
      }
      if (!away) server.memory = std::move(answer);
    }
    wake_.wait_for(lock.native(), stop, kMemoryPause, [] { return false; });
  }
}

void ModelServers::Take(std::size_t index, absl::Status ready, bool in_part) {
  const TimePoint now = Clock::now();
  const MutexLock lock(mutex_);
  Watched& server = servers_[index];
  if (ready.ok()) {
    if (!server.memory) return;  // soon
    ready = *server.memory;
  } else if (must_share_) {
    // It may be another one when it is back.
    server.memory.reset();
    server.ask_of_memory = {};
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
