#include "worker/streams/taking.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string_view>
#include <utility>

#include "shared/base/log.h"
#include "shared/redis/names.h"
#include "worker/streams/frame_work.h"
#include "worker/streams/process_name.h"
#include "worker/streams/scripts.h"
#include "worker/streams/trip.h"

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;

// Of a camera whose key is no stream.
constexpr milliseconds kRestOfWrong{10'000};
// Of a camera whose frame could not be had though there was one.
constexpr milliseconds kRestOfEmpty{50};
// Of the cameras of a shard whose script failed.
constexpr milliseconds kRestOfFailed{1'000};
constexpr milliseconds kLookAtAllEvery{1'000};
constexpr int kMostCrashes = 3;
// With frames, which may be large.
constexpr milliseconds kPatienceForFrames{10'000};
// A trip may always bring so much.
constexpr std::size_t kLeastTrip = std::size_t{1} << 20;

std::string_view Word(Policy policy) {
  return kStreamPolicies[static_cast<std::size_t>(policy)];
}

}  // namespace

Taking::Taking(const IngestContext& context, const FieldNames& fields, Ownership& ownership,
               Schedule& schedule, InWork& in_work, Answers& answers)
    : context_(context),
      fields_(fields),
      ownership_(ownership),
      schedule_(schedule),
      in_work_(in_work),
      answers_(answers) {}

absl::Status Taking::TakeAll(Redis& redis, const Waiting& waiting, TimePoint now) {
  while (in_work_.HasRoom()) {
    if (keeps_up_ && waiting.Rests(now) && !schedule_.has_ready() && now < all_at_) {
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Look(redis, waiting, now));
    const std::size_t left = in_work_.bytes_left();
    const std::vector<Camera*> cameras =
        schedule_.Next(in_work_.room(), std::min(left, trip_bytes_),
                       in_work_.frames() == 0 ? std::numeric_limits<std::size_t>::max() : left);
    in_work_.WaitFor(schedule_.needed());
    keeps_up_ = cameras.empty() && schedule_.needed() == 0;
    if (cameras.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(Take(redis, cameras, {}, now));
  }
  keeps_up_ = false;
  return absl::OkStatus();
}

absl::Status Taking::TakeIn(Redis& redis, Received received, TimePoint now) {
  std::vector<Camera*> cameras;
  for (const auto& [id, frame] : received) {
    Camera* camera = schedule_.Find(id);
    if (camera != nullptr && !frame.id.empty()) cameras.push_back(camera);
  }
  const std::size_t before = in_work_.frames();
  const std::size_t came = received.size();
  RETURN_IF_ERROR(Take(redis, cameras, std::move(received), now));
  if (in_work_.frames() - before < came) LookAtAll();
  return absl::OkStatus();
}

absl::Status Taking::Look(Redis& redis, const Waiting& waiting, TimePoint now) {
  std::map<int, std::vector<Camera*>> by_shard;
  const bool all = !schedule_.has_ready();
  const bool also_awaited = all && now >= all_at_;
  if (also_awaited) all_at_ = now + kLookAtAllEvery;
  for (Camera* camera : schedule_.ToLookAt(all, now)) {
    if (!ownership_.leases().MayTake(camera->shard, now)) continue;
    // The blocking read has an eye on it.
    if (!also_awaited && waiting.WaitsFor(*camera)) continue;
    by_shard[camera->shard].push_back(camera);
  }
  if (by_shard.empty()) return absl::OkStatus();
  Trip trip;
  for (const auto& [shard, cameras] : by_shard) {
    Redis::ScriptCall& call = trip.Add(PeekScript());
    for (const Camera* camera : cameras) call.keys.push_back(camera->key);
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, trip.Go(redis));
  std::size_t next = 0;
  for (const auto& [shard, cameras] : by_shard) {
    const Reply lengths = *replies[next++];
    RETURN_IF_ERROR(lengths.ToStatus());
    for (std::size_t i = 0; i < cameras.size(); ++i) {
      Camera& camera = *cameras[i];
      const std::int64_t count = lengths.at(i).Number();
      if (count < 0) {
        log::Warning("a camera's key is no stream", {{"camera", camera.id}, {"key", camera.key}});
        schedule_.Rest(camera, now + kRestOfWrong);
      } else {
        schedule_.Found(camera, camera.needs_group ? std::max<std::int64_t>(count, 1) : count);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Taking::Take(Redis& redis, std::span<Camera* const> cameras, Received received,
                          TimePoint now) {
  const Leases& leases = ownership_.leases();
  std::map<int, std::vector<Camera*>> by_shard;
  for (Camera* camera : cameras) {
    // A lease that may have ended is renewed first.
    if (leases.MayTake(camera->shard, now)) {
      by_shard[camera->shard].push_back(camera);
    } else {
      schedule_.NotThere(*camera);
    }
  }
  if (by_shard.empty()) return absl::OkStatus();
  Trip trip;
  const std::string_view wall = trip.Keep(NowMs());
  const std::string_view largest =
      trip.Keep(static_cast<std::int64_t>(context_.config.limits.body_mb) << 20);
  const std::map<int, std::int64_t> budgets = Budgets(by_shard, received);
  for (const auto& [shard, of_shard] : by_shard) {
    Redis::ScriptCall& call = trip.Add(TakeScript());
    call.keys = {trip.Keep(LeaseKey(shard)), trip.Keep(LedgerKey(shard))};
    call.arguments = {leases.token(shard),
                      kGroup,
                      kConsumer,
                      wall,
                      fields_.epoch,
                      fields_.seq,
                      fields_.time,
                      trip.Keep(budgets.at(shard)),
                      largest};
    for (const Camera* camera : of_shard) {
      const auto known = received.find(camera->id);
      call.keys.push_back(camera->key);
      call.arguments.insert(
          call.arguments.end(),
          {camera->id, Word(camera->options.policy), trip.Keep(camera->options.max_age_ms),
           known == received.end() ? std::string_view() : std::string_view(known->second.id)});
    }
  }
  redis.SetPatience(kPatienceForFrames);
  auto replies = trip.Go(redis);
  redis.SetPatience(kPatience);
  if (!replies.ok()) {
    trip_bytes_ = std::max(trip_bytes_ / 2, kLeastTrip);
    return replies.status();
  }
  trip_bytes_ = std::min(trip_bytes_ + trip_bytes_ / 16, kMostBytes);
  std::size_t next = 0;
  const std::size_t before = in_work_.frames();
  absl::Status accepted;
  for (const auto& [shard, of_shard] : by_shard) {
    const OwnedReply owned = std::move((*replies)[next++]);  // its memory is free after each shard
    const Reply reply = *owned;
    accepted = Accept(redis, reply, of_shard, received, now);
    if (!accepted.ok()) break;
    const absl::Status status = reply.ToStatus();
    if (absl::IsAborted(status)) {
      ownership_.Lose(shard, now);
    } else if (!status.ok()) {
      log::Error("frames cannot be taken", {{"shard", shard}, {"reason", Message(status)}});
    }
  }
  in_work_.HandOver();
  context_.slot.streams.CountTrip(StreamWay::kIn, in_work_.frames() - before);
  return accepted;
}

std::map<int, std::int64_t> Taking::Budgets(const std::map<int, std::vector<Camera*>>& by_shard,
                                            const Received& received) const {
  std::map<int, std::int64_t> budgets;
  std::size_t expected = 0;
  for (const auto& [shard, cameras] : by_shard) {
    std::size_t of_shard = 0;
    for (const Camera* camera : cameras) {
      const auto known = received.find(camera->id);
      of_shard += known == received.end() ? ExpectedBytes(*camera) : known->second.bytes;
    }
    budgets[shard] = static_cast<std::int64_t>(std::max<std::size_t>(of_shard, 1));
    expected += of_shard;
  }
  const std::size_t most = std::min(in_work_.bytes_left(), trip_bytes_);
  const std::size_t spare = most > expected ? (most - expected) / by_shard.size() : 0;
  for (auto& [shard, budget] : budgets) budget += static_cast<std::int64_t>(spare);
  return budgets;
}

absl::Status Taking::Accept(Redis& redis, Reply reply, std::span<Camera* const> cameras,
                            Received& received, TimePoint now) {
  absl::Status status = reply.ToStatus();
  if (BreaksConnection(status)) return status;
  std::vector<bool> is_known(cameras.size(), false);  // what becomes of it
  std::vector<Frame> blamed;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const Reply item = reply.at(i);
    const auto at = static_cast<std::size_t>(item.at(0).Number()) - 1;
    if (at >= cameras.size()) continue;
    Camera& camera = *cameras[at];
    camera.needs_group = false;
    if (item.at(1).Text() == "large") {
      is_known[at] = true;
      schedule_.TooLarge(camera, static_cast<std::size_t>(item.at(3).Number()));
      continue;
    }
    if (item.size() < 3) {
      if (item.at(1).Text() == "uncounted") {
        log::Warning("the ledger of a camera has what is no number", {{"camera", camera.id}});
      }
      schedule_.Rest(camera, now + kRestOfWrong);
      continue;
    }
    is_known[at] = true;
    const bool has_fields = item.size() > 3;  // or they came before
    Frame frame = has_fields ? FrameOf(fields_, camera, item.at(2), item.at(3),
                                       item.at(1).Text() == "claimed")
                             : std::move(received[camera.id]);
    if (frame.claimed && !CrashesOf(frame).empty()) {
      blamed.push_back(std::move(frame));
    } else {
      in_work_.Begin(camera, std::move(frame));
    }
  }
  for (std::size_t i = 0; i < cameras.size(); ++i) {
    if (is_known[i]) continue;
    Camera& camera = *cameras[i];
    if (!status.ok()) {
      schedule_.Rest(camera, now + kRestOfFailed);
    } else if (!std::exchange(camera.needs_group, false) && camera.waiting > 0) {
      schedule_.Rest(camera, now + kRestOfEmpty);
    }
    schedule_.NotThere(camera);
  }
  for (Frame& frame : blamed) RETURN_IF_ERROR(Blame(redis, std::move(frame), now));
  return absl::OkStatus();
}

std::string Taking::CrashesOf(const Frame& frame) const {
  const RequestName name = RequestNameOf(frame);
  std::string crashes;
  for (const CrashRecord& crash : context_.board.Crashes()) {
    if (crash.task.request_id != name) continue;
    crashes += fmt::format("{}:{}@{} ", HostName(), crash.pid, crash.at_s);
  }
  return crashes;
}

absl::Status Taking::Blame(Redis& redis, Frame frame, TimePoint now) {
  const std::string crashes = CrashesOf(frame);
  const std::string lease = LeaseKey(frame.shard);
  const std::string ledger = LedgerKey(frame.shard);
  const auto known =
      redis.Run({&BlameScript(),
                 {lease, ledger},
                 {ownership_.leases().token(frame.shard), frame.camera, frame.id, crashes}});
  if (BreaksConnection(known.status())) return known.status();
  Camera* camera = schedule_.Find(frame.camera);
  if (camera == nullptr) return absl::OkStatus();
  if (!known.ok() || (**known).Number() < kMostCrashes) {
    in_work_.Begin(*camera, std::move(frame));
    return absl::OkStatus();
  }
  in_work_.Hold(*camera, frame, now);
  answers_.Add({.frame = std::move(frame),
                .what = Outcome::What::kDead,
                .status = 500,
                .json = fmt::format("its thread crashed {} times", (**known).Number())},
               now);
  return absl::OkStatus();
}

}  // namespace inferpool::streams
