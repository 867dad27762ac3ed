#include "worker/streams/taking.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
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
    const std::vector<Camera*> cameras = schedule_.Next(in_work_.room(), in_work_.bytes_left());
    keeps_up_ = cameras.empty();
    if (keeps_up_) return absl::OkStatus();
    RETURN_IF_ERROR(Take(redis, cameras, {}, now));
  }
  keeps_up_ = false;
  return absl::OkStatus();
}

absl::Status Taking::TakeIn(Redis& redis, Received received, TimePoint now) {
  std::vector<Camera*> cameras;
  for (const auto& [id, frame] : received) {
    if (Camera* camera = schedule_.Find(id)) cameras.push_back(camera);
  }
  const std::size_t before = in_work_.frames();
  RETURN_IF_ERROR(Take(redis, cameras, std::move(received), now));
  if (in_work_.frames() - before < cameras.size()) LookAtAll();
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
  const std::string_view enough =
      trip.Keep(static_cast<std::int64_t>(in_work_.bytes_left() / by_shard.size() + 1));
  for (const auto& [shard, of_shard] : by_shard) {
    Redis::ScriptCall& call = trip.Add(TakeScript());
    call.keys = {trip.Keep(LeaseKey(shard)), trip.Keep(LedgerKey(shard))};
    call.arguments = {leases.token(shard), kGroup,       kConsumer, wall,   fields_.epoch,
                      fields_.seq,         fields_.time, enough,    largest};
    for (const Camera* camera : of_shard) {
      const auto known = received.find(camera->id);
      call.keys.push_back(camera->key);
      call.arguments.insert(
          call.arguments.end(),
          {camera->id, Word(camera->options.policy), trip.Keep(camera->options.max_age_ms),
           known == received.end() ? std::string_view() : std::string_view(known->second.id)});
    }
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, trip.Go(redis));
  std::size_t next = 0;
  std::uint64_t taken = 0;
  absl::Status accepted;
  for (const auto& [shard, of_shard] : by_shard) {
    const Reply reply = *replies[next++];
    taken += reply.size();
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
  context_.slot.streams.CountTrip(StreamWay::kIn, taken);
  return accepted;
}

absl::Status Taking::Accept(Redis& redis, Reply reply, std::span<Camera* const> cameras,
                            Received& received, TimePoint now) {
  absl::Status status = reply.ToStatus();
  if (BreaksConnection(status)) return status;
  std::vector<bool> has_frame(cameras.size(), false);
  std::vector<Frame> blamed;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const Reply item = reply.at(i);
    const auto at = static_cast<std::size_t>(item.at(0).Number()) - 1;
    if (at >= cameras.size()) continue;
    Camera& camera = *cameras[at];
    camera.needs_group = false;
    if (item.size() < 3) {
      schedule_.Rest(camera, now + kRestOfWrong);
      continue;
    }
    has_frame[at] = true;
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
    if (has_frame[i]) continue;
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
  const std::size_t bytes = frame.picture.size();
  answers_.Add({.frame = std::move(frame),
                .what = Outcome::What::kDead,
                .status = 500,
                .json = fmt::format("its thread crashed {} times", (**known).Number()),
                .bytes = bytes},
               now);
  return absl::OkStatus();
}

}  // namespace inferpool::streams
