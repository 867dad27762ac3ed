#include "worker/streams/ownership.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/log.h"
#include "shared/redis/names.h"
#include "worker/streams/counts.h"
#include "worker/streams/entry.h"
#include "worker/streams/process_name.h"
#include "worker/streams/scripts.h"
#include "worker/streams/shares.h"
#include "worker/streams/trip.h"

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBeatEvery{1'000};
// Without a heartbeat. Less than a lease lasts: who takes a shard over is known when it ends.
constexpr milliseconds kAlive{2'500};

// A pool that is reloaded is of two kinds for less time than this.
constexpr milliseconds kOthersMayDiffer{10'000};

// What all pools at one Redis must have alike.
std::string SetupOf(const Config::Streams& settings) {
  const FieldNames fields(settings.fields);
  std::string setup = fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n", settings.shards,
                                  settings.camera_set, fields.picture, fields.frame, fields.epoch,
                                  fields.seq, fields.time, fields.model, fields.parameters);
  for (const auto& [id, camera] : settings.cameras) setup += id + '\n';
  return setup;
}

// Each lease has another one, which begins with its holder's name.
std::string MakeToken(std::string_view process) {
  std::random_device random;
  return fmt::format("{}:{:08x}{:08x}", process, random(), random());
}

bool IsTokenOf(std::string_view token, std::string_view process) {
  return token.starts_with(process) && token.substr(process.size()).starts_with(':');
}

}  // namespace

Ownership::Ownership(const Config::Streams& settings, const Scoreboard& board, Schedule& schedule)
    : shards_(settings.shards),
      board_(board),
      schedule_(schedule),
      name_(MakeProcessName(SetupOf(settings))),
      leases_(settings.shards) {}

void Ownership::Arrive() {
  next_beat_ = {};
  wakes_others_ = true;
}

absl::Status Ownership::Tell(Redis& redis) const {
  return redis.Call({"PUBLISH", kChanges, name_}).status();
}

absl::Status Ownership::Beat(Redis& redis, TimePoint now) {
  next_beat_ = now + kBeatEvery;
  if (left_) return absl::OkStatus();
  const std::string alive = fmt::format("{}", kAlive.count());
  const auto reply = redis.Run({&HeartbeatScript(), {kConsumers}, {name_, alive}});
  if (BreaksConnection(reply.status())) return reply.status();
  SayWhetherBeatIsRefused(reply.status());
  if (!reply.ok()) return absl::OkStatus();
  std::vector<std::string> processes;
  std::vector<std::string> dead;
  for (std::size_t i = 0; i < (**reply).size(); ++i) {
    const std::string_view process = (**reply).at(i).Text();
    (IsOfDeadProcess(process) ? dead : processes).emplace_back(process);
  }
  if (!dead.empty()) RETURN_IF_ERROR(Bury(redis, dead));
  SayWhetherOthersDiffer(processes, now);
  leases_.Want(ShareOf(name_, processes, shards_), now);
  return std::exchange(wakes_others_, false) ? Tell(redis) : absl::OkStatus();
}

void Ownership::SayWhetherBeatIsRefused(const absl::Status& status) {
  if (std::exchange(beat_is_refused_, !status.ok()) == beat_is_refused_) return;
  if (beat_is_refused_) {
    log::Error("shards cannot be shared", {{"key", kConsumers}, {"reason", Message(status)}});
  } else {
    log::Info("shards are shared again", {{"key", kConsumers}});
  }
}

void Ownership::SayWhetherOthersDiffer(std::span<const std::string> processes, TimePoint now) {
  const auto other = std::ranges::find_if(processes, [this](const std::string& process) {
    return AreSetUpDifferently(name_, process);
  });
  if (other == processes.end()) {
    others_differ_since_.reset();
    said_others_differ_ = false;
    return;
  }
  if (!others_differ_since_) others_differ_since_ = now;
  if (now < *others_differ_since_ + kOthersMayDiffer) return;
  if (std::exchange(said_others_differ_, true)) return;
  log::Warning(
      "another pool at this Redis has other cameras, fields or shards: some cameras are not "
      "answered",
      {{"process", *other}});
}

absl::Status Ownership::Bury(Redis& redis, std::span<const std::string> dead) {
  Arguments remove = {"ZREM", kConsumers};
  remove.insert(remove.end(), dead.begin(), dead.end());
  std::vector<std::string> keys;
  keys.reserve(static_cast<std::size_t>(shards_));
  for (int shard = 0; shard < shards_; ++shard) keys.push_back(LeaseKey(shard));
  std::vector<Arguments> commands = {std::move(remove)};
  for (const std::string& key : keys) commands.push_back({"GET", key});
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis.CallAll(commands));
  Trip trip;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::string_view token = (*replies[i + 1]).Text();
    const auto is_token_of = [token](const std::string& process) {
      return IsTokenOf(token, process);
    };
    if (std::ranges::none_of(dead, is_token_of)) continue;
    Redis::ScriptCall& call = trip.Add(ReleaseScript());
    call.keys = {keys[i]};
    call.arguments = {token};
  }
  RETURN_IF_ERROR(trip.Go(redis).status());
  leases_.TryNow();
  wakes_others_ = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> Ownership::KeepLeases(Redis& redis, TimePoint now) {
  const Leases::Due due = leases_.WhatIsDue(now);
  if (due.acquire.empty() && due.renew.empty() && due.release.empty()) return false;
  Trip trip;
  const std::string_view time = trip.Keep(kLeaseTime.count());
  std::vector<std::string> tokens;
  for (const int shard : due.acquire) {
    tokens.push_back(MakeToken(name_));
    Redis::ScriptCall& call = trip.Add(AcquireScript());
    call.keys = {trip.Keep(LeaseKey(shard))};
    call.arguments = {trip.Keep(tokens.back()), time};
  }
  for (const int shard : due.renew) {
    Redis::ScriptCall& call = trip.Add(RenewScript());
    call.keys = {trip.Keep(LeaseKey(shard))};
    call.arguments = {leases_.token(shard), time};
  }
  for (const int shard : due.release) {
    Redis::ScriptCall& call = trip.Add(ReleaseScript());
    call.keys = {trip.Keep(LeaseKey(shard))};
    call.arguments = {leases_.token(shard)};
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, trip.Go(redis));
  for (const OwnedReply& reply : replies) {
    const absl::Status status = (*reply).ToStatus();
    if (BreaksConnection(status)) return status;
  }
  std::size_t next = 0;
  bool changed = !due.release.empty();
  for (std::size_t i = 0; i < due.acquire.size(); ++i) {
    const int shard = due.acquire[i];
    if ((*replies[next++]).Number() == 1) {
      leases_.Acquired(shard, tokens[i], now);
      StreamShard& counts = CountsOf(board_, shard);
      counts.Count(StreamEvent::kLeaseChange);
      counts.owner = getpid();
      changed = true;
    } else {
      leases_.Refused(shard, now);
    }
  }
  for (const int shard : due.renew) {
    if ((*replies[next++]).Number() == 1) {
      leases_.Renewed(shard, now);
    } else {
      Lose(shard, now);
    }
  }
  for (const int shard : due.release) Lose(shard, now);
  if (!due.release.empty()) RETURN_IF_ERROR(Tell(redis));
  return changed;
}

void Ownership::Lose(int shard, TimePoint now) {
  if (!leases_.Has(shard)) return;
  leases_.Lost(shard, now);
  StreamShard& counts = CountsOf(board_, shard);
  counts.Count(StreamEvent::kLeaseChange);
  std::int32_t self = getpid();  // another process of the pool may have it by now
  counts.owner.compare_exchange_strong(self, 0);
  schedule_.Keep([shard](const Camera& camera) { return camera.shard != shard; });
}

absl::Status Ownership::Hear(Redis& hears) {
  ASSIGN_OR_RETURN(OwnedReply reply, hears.Receive());
  while (true) {
    if ((*reply).size() == 3 && (*reply).at(2).Text() != name_) {
      next_beat_ = {};
      leases_.TryNow();
    }
    std::optional<OwnedReply> next = hears.ReceiveBuffered();
    if (!next) return absl::OkStatus();
    reply = *std::move(next);
  }
}

absl::Status Ownership::Leave(Redis& redis) {
  left_ = true;
  leases_.Want({}, Clock::now());
  const absl::Status left = redis.Call({"ZREM", kConsumers, name_}).status();
  return BreaksConnection(left) ? left : Tell(redis);
}

TimePoint Ownership::NextDue() const {
  return std::min(next_beat_, leases_.NextDue().value_or(TimePoint::max()));
}

}  // namespace inferpool::streams
