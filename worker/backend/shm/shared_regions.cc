#include "worker/backend/shm/shared_regions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <string_view>
#include <utility>

#include "shared/base/log.h"
#include "worker/backend/rpc/grpc_status.h"
#include "worker/backend/shm/region_calls.h"

namespace inferpool::backend {
namespace {

constexpr std::chrono::seconds kPause{1};
constexpr std::chrono::seconds kRest{30};
// Long enough to cost nothing where the answer will never be another.
constexpr std::chrono::minutes kRefusalPause{1};

}  // namespace

bool IsRegionUnknown(const absl::Status& status) {
  if (!absl::IsNotFound(status) && !absl::IsInvalidArgument(status)) return false;
  constexpr std::string_view kWords = "unable to find shared memory region";
  const std::string_view text = Message(status);
  return std::search(text.begin(), text.end(), kWords.begin(), kWords.end(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == b;
         }) != text.end();
}

std::string WhatToDo(std::string_view server, const absl::Status& refusal) {
  return fmt::format(
      "the model server at {} takes no shared memory ({}): run it on the same host with the same "
      "/dev/shm, a Triton with --allow-client-shm=true, or set backend.transport to auto or inline",
      server, Message(refusal));
}

SharedRegions::SharedRegions(Transport transport, const std::vector<Target>& targets,
                             std::function<void()> refused)
    : transport_(transport), refused_(std::move(refused)) {
  for (const Target& target : targets) servers_.push_back(std::make_unique<Server>(target));
}

absl::StatusOr<SharedRegions::Way> SharedRegions::Prepare(std::size_t target,
                                                          const std::shared_ptr<Arena>& arena,
                                                          Deadline deadline, TimePoint now) {
  if (transport_ == Transport::kInline) return Way::kInline;
  Server& server = *servers_[target];
  MutexLock lock(mutex_);
  while (true) {
    if (server.registered.contains(arena->name())) return Way::kShared;
    if (now < server.ask_again) return NotShared(server);
    if (!server.asking) break;
    if (answered_.wait_until(lock.native(), deadline.at()) == std::cv_status::timeout) {
      if (transport_ == Transport::kAuto) return Way::kInline;
      return absl::DeadlineExceededError("the model server did not register the memory in time");
    }
  }
  server.asking = true;
  lock.Unlock();
  arena->GiveOut();
  const Deadline longest = Deadline::After(kLongestRegistration);
  const bool short_of_time = deadline.at() < longest.at();
  const absl::Status answer = RegisterRegion(server.calls, arena->name(), arena->size(),
                                             short_of_time ? deadline : longest);
  lock.Lock();
  server.asking = false;
  // That one caller had little time says nothing of the server.
  const bool pause = !(short_of_time && absl::IsDeadlineExceeded(answer));
  Settle(server, arena, answer, std::max(now, Clock::now()), pause);
  answered_.notify_all();
  if (server.registered.contains(arena->name())) return Way::kShared;
  absl::StatusOr<Way> not_shared = NotShared(server);
  const bool refuses = server.refuses;
  lock.Unlock();
  if (refuses) refused_();
  return not_shared;
}

void SharedRegions::Settle(Server& server, const std::shared_ptr<Arena>& arena,
                           const absl::Status& answer, TimePoint now, bool pause) {
  // Names are never used twice. So one that exists is of this arena, by a call whose answer did not
  // come in time.
  if (answer.ok() || absl::IsAlreadyExists(answer)) {
    std::erase_if(server.registered, [](const auto& entry) { return entry.second.expired(); });
    server.registered.emplace(arena->name(), arena);
    if (std::exchange(server.refuses, false)) {
      log::Info("the model server takes shared memory now", {{"target", server.name}});
    }
    return;
  }
  if (MayPass(answer)) {
    // One that has said no is away while it is started anew.
    if (!server.refuses) server.reason = answer;
    server.ask_again = pause ? now + kPause : TimePoint();
    return;
  }
  const bool first = !std::exchange(server.refuses, true);
  server.reason = answer;
  server.ask_again = now + kRefusalPause;
  if (first && transport_ == Transport::kAuto) {  // otherwise the caller has an error
    log::Warning("the model server takes no shared memory: tensors go inline",
                 {{"target", server.name}, {"reason", Message(answer)}});
  }
}

std::vector<std::size_t> SharedRegions::Refusing(TimePoint now) {
  std::vector<std::size_t> refusing;
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    if (servers_[i]->refuses && now < servers_[i]->ask_again) refusing.push_back(i);
  }
  return refusing;
}

std::vector<std::size_t> SharedRegions::NotNow(const std::string& arena, TimePoint now) {
  std::vector<std::size_t> not_now;
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    const Server& server = *servers_[i];
    if (now < server.ask_again && !server.registered.contains(arena)) not_now.push_back(i);
  }
  return not_now;
}

void SharedRegions::Reconnected(std::size_t target) {
  const MutexLock lock(mutex_);
  Server& server = *servers_[target];
  if (server.refuses) server.ask_again = {};
}

absl::StatusOr<SharedRegions::Way> SharedRegions::NotShared(const Server& server) const {
  if (transport_ == Transport::kAuto) return Way::kInline;
  return server.refuses ? NotSetUp(WhatToDo(server.name, server.reason)) : server.reason;
}

void SharedRegions::Forget(std::size_t target, const std::string& arena) {
  const MutexLock lock(mutex_);
  servers_[target]->registered.erase(arena);
}

void SharedRegions::Rest(std::size_t target, TimePoint now) {
  const MutexLock lock(mutex_);
  Server& server = *servers_[target];
  server.refuses = false;
  server.reason = absl::UnavailableError(fmt::format(
      "the model server at {} forgets the memory it is told of; are there several behind it?",
      server.name));
  server.ask_again = now + kRest;
  log::Warning("the model server forgets shared memory: tensors go inline for a while",
               {{"target", server.name}});
}

absl::Status SharedRegions::Unregister(const std::string& arena, Deadline deadline) {
  absl::Status result;
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    Forget(i, arena);
    const TimePoint now = Clock::now();
    const auto share = deadline.Left(now) / static_cast<int>(servers_.size() - i);
    const absl::Status status = UnregisterRegion(servers_[i]->calls, arena, Deadline(now + share));
    // Any other answer would be the same next time.
    if (MayPass(status) && !absl::IsUnavailable(status)) result.Update(status);
  }
  return result;
}

}  // namespace inferpool::backend
