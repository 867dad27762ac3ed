#include "worker/streams/answers.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <string_view>
#include <utility>

#include "shared/base/log.h"
#include "shared/redis/names.h"
#include "worker/streams/counts.h"
#include "worker/streams/onlookers.h"
#include "worker/streams/scripts.h"
#include "worker/streams/trip.h"

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;

// A trip waits so long for more outcomes while the threads have frames.
constexpr milliseconds kGather{5};
// Of a shard, or a camera, after Redis has not taken what was to be stored.
constexpr milliseconds kFirstRest{500};
constexpr milliseconds kLongestRest{10'000};
constexpr milliseconds kFirstRetry{100};
constexpr milliseconds kLongestRetry{2'000};
// A frame that need not be answered at any price is given up after so long.
constexpr milliseconds kPatienceForModel{5'000};
constexpr int kMostTriesOfBroken = 3;
// Frames that wait for their next try hold one part in so many of the room, and of the bytes.
constexpr std::size_t kPartOfRetries = 4;
constexpr std::size_t kMostGivenBack = 10'000;
// Of a shard's dead letters: how many, the bytes of one, and of all.
constexpr std::string_view kMostDead = "1000";
constexpr std::string_view kMostOfOneDead = "1048576";
constexpr std::string_view kMostOfAllDead = "67108864";

// Why a frame is dropped, as the ledger has it.
std::string_view ReasonOf(Outcome::What what) {
  switch (what) {
    case Outcome::What::kDead:
      return "failed";
    case Outcome::What::kOverwritten:
      return "overwritten";
    default:
      return "stale";
  }
}

void AddDrop(Trip& trip, const Outcome& outcome, std::string_view token) {
  const Frame& frame = outcome.frame;
  const bool is_dead = outcome.what == Outcome::What::kDead;
  Redis::ScriptCall& call = trip.Add(DropScript());
  call.keys = {trip.Keep(LeaseKey(frame.shard)), trip.Keep(LedgerKey(frame.shard)),
               trip.Keep(DeadKey(frame.shard)), trip.Keep(FramesKey(frame.shard, frame.camera))};
  call.arguments = {token,
                    kGroup,
                    frame.camera,
                    frame.id,
                    ReasonOf(outcome.what),
                    is_dead ? std::string_view(outcome.json) : std::string_view(),
                    kMostDead,
                    kMostOfOneDead,
                    kMostOfAllDead};
}

void AddAnswer(Trip& trip, const Outcome& outcome, Redis::ScriptCall& call) {
  const Frame& frame = outcome.frame;
  call.keys.push_back(trip.Keep(FramesKey(frame.shard, frame.camera)));
  call.arguments.insert(
      call.arguments.end(),
      {frame.camera, frame.id, frame.seq, trip.Keep(outcome.status),
       IsStored(outcome) ? std::string_view(outcome.json) : std::string_view(),
       trip.Keep(frame.captured_ms), trip.Keep(frame.read_ms), trip.Keep(outcome.answered_ms)});
}

// What probably fails together: all answers of a shard, all its dead letters.
std::pair<int, Outcome::What> KindOf(const Outcome& outcome) {
  return {outcome.frame.shard, outcome.what};
}

}  // namespace

Answers::Answers(const IngestContext& context, Ownership& ownership, Schedule& schedule,
                 InWork& in_work, FrameQueue& queue, Mode& mode)
    : context_(context),
      ownership_(ownership),
      schedule_(schedule),
      in_work_(in_work),
      queue_(queue),
      mode_(mode) {}

bool Answers::IsTriedAgain(const Outcome& outcome) const {
  const Frame& frame = outcome.frame;
  if (outcome.what != Outcome::What::kRetry) return false;
  if (outcome.status == 500 && frame.tries + 1 >= kMostTriesOfBroken) return false;
  // That there was no model is an answer too.
  return frame.policy == Policy::kAll || Clock::now() - frame.read_at <= kPatienceForModel;
}

void Answers::Collect(bool stopping) {
  for (Outcome& outcome : queue_.Outcomes()) {
    in_work_.Worked(outcome.worked_us);
    mode_.Saw(outcome.batches, Clock::now());
    Frame& frame = outcome.frame;
    Recall(frame);
    if (!IsTriedAgain(outcome)) {
      if (outcome.what == Outcome::What::kRetry) outcome.what = Outcome::What::kAnswer;
      Add(std::move(outcome), Clock::now());
    } else if (stopping) {
      in_work_.End(frame);  // it stays pending, for the next owner
    } else {
      CountsOf(context_.board, frame.shard).Count(StreamEvent::kRetried);
      Retry(std::move(frame), Clock::now());
    }
  }
}

void Answers::Recall(Frame& frame) {
  const auto found = given_back_.find(frame.camera);
  if (found == given_back_.end()) return;
  if (found->second.id == frame.id) {
    frame.read_at = found->second.read_at;
    frame.tries = found->second.tries;
  }
  given_back_.erase(found);
}

bool Answers::HasRoomForRetry(const Frame& frame) const {
  if (in_work_.IsWaiting()) return false;  // or a large frame would never have room
  const std::size_t room = in_work_.room() + in_work_.frames();
  std::size_t bytes = frame.bytes;
  for (const Pausing& retry : retries_) bytes += retry.frame.bytes;
  return retries_.size() < std::max<std::size_t>(room / kPartOfRetries, 1) &&
         bytes <= kMostBytes / kPartOfRetries;
}

void Answers::Retry(Frame frame, TimePoint now) {
  const auto pause = std::min(kFirstRetry * (1 << std::min(frame.tries, 8)), kLongestRetry);
  ++frame.tries;
  if (HasRoomForRetry(frame)) {
    retries_.push_back({now + pause, std::move(frame)});
    return;
  }
  in_work_.End(frame);
  if (Camera* camera = schedule_.Find(frame.camera)) {
    schedule_.Rest(*camera, now + kLongestRetry);
    // Else the patience of some begins anew.
    if (given_back_.size() >= kMostGivenBack) given_back_.clear();
    given_back_[frame.camera] = {frame.id, frame.read_at, frame.tries};
  }
}

void Answers::Add(Outcome outcome, TimePoint now) {
  if (!first_outcome_) first_outcome_ = now;
  outcomes_.push_back(std::move(outcome));
}

void Answers::TryAgain(TimePoint now) {
  for (std::size_t i = 0; i < retries_.size();) {
    Pausing& retry = retries_[i];
    if (now < retry.at) {
      ++i;
      continue;
    }
    if (ownership_.leases().Has(retry.frame.shard)) {
      std::vector<Frame> frames;
      frames.push_back(std::move(retry.frame));
      queue_.Put(std::move(frames));
    } else {
      in_work_.End(retry.frame);
    }
    std::swap(retry, retries_.back());
    retries_.pop_back();
  }
}

void Answers::TryNothingAgain() {
  for (const Pausing& retry : std::exchange(retries_, {})) {
    in_work_.End(retry.frame);
  }
  given_back_.clear();
}

bool Answers::SettlingIsDue(bool stopping, TimePoint now) const {
  const FrameQueue::Progress progress = queue_.progress();
  const std::size_t count = outcomes_.size() + progress.outcomes;
  if (count == 0) return false;
  return stopping || count >= FrameQueue::kFullTrip || progress.is_done ||
         now >= FirstOf(progress) + kGather;
}

TimePoint Answers::FirstOf(const FrameQueue::Progress& progress) const {
  constexpr TimePoint kNever = TimePoint::max() - kGather;
  return std::min(first_outcome_.value_or(kNever), progress.first_outcome.value_or(kNever));
}

absl::Status Answers::Settle(Redis& redis) {
  if (outcomes_.empty()) return absl::OkStatus();
  const Leases& leases = ownership_.leases();
  // Before the answers, on which those who wait for a picture look for one.
  RETURN_IF_ERROR(StoreSnapshots(redis, leases, outcomes_));
  Trip trip;
  std::vector<std::vector<std::size_t>> told;       // by each call
  std::map<int, std::vector<std::size_t>> answers;  // by shard
  for (std::size_t i = 0; i < outcomes_.size(); ++i) {
    const Outcome& outcome = outcomes_[i];
    const int shard = outcome.frame.shard;
    if (!leases.Has(shard)) continue;
    if (outcome.what == Outcome::What::kAnswer) {
      answers[shard].push_back(i);
    } else {
      AddDrop(trip, outcome, leases.token(shard));
      told.push_back({i});
    }
  }
  const std::string_view most = trip.Keep(context_.config.streams.results_max);
  for (const auto& [shard, numbers] : answers) {
    Redis::ScriptCall& call = trip.Add(PublishScript());
    call.keys = {trip.Keep(LeaseKey(shard)), trip.Keep(LedgerKey(shard)),
                 trip.Keep(ResultsKey(shard)), trip.Keep(LossesKey(shard))};
    call.arguments = {leases.token(shard), kGroup, most};
    for (const std::size_t i : numbers) AddAnswer(trip, outcomes_[i], call);
    told.push_back(numbers);
  }
  std::vector<OwnedReply> replies;
  if (trip.size() > 0) {
    ASSIGN_OR_RETURN(replies, trip.Go(redis));
  }
  const TimePoint now = Clock::now();
  std::vector<bool> refused(outcomes_.size(), false);
  for (std::size_t call = 0; call < told.size(); ++call) {
    ASSIGN_OR_RETURN(const bool is_settled, Read(*replies[call], told[call], now));
    for (const std::size_t i : told[call]) refused[i] = !is_settled;
  }
  std::size_t stored = 0;
  for (std::size_t i = 0; i < outcomes_.size(); ++i) {
    in_work_.End(outcomes_[i].frame);
    if (refused[i]) {
      LetRest(outcomes_[i]);
    } else {
      ++stored;
    }
  }
  if (trip.size() > 0) context_.slot.streams.CountTrip(StreamWay::kOut, stored);
  outcomes_.clear();
  first_outcome_.reset();
  return absl::OkStatus();
}

absl::StatusOr<bool> Answers::Read(Reply reply, std::span<const std::size_t> outcomes,
                                   TimePoint now) {
  const absl::Status status = reply.ToStatus();
  if (BreaksConnection(status)) return status;
  const Outcome& first = outcomes_[outcomes.front()];
  const int shard = first.frame.shard;
  if (absl::IsAborted(status)) {
    ownership_.Lose(shard, now);
    return true;  // they are the next owner's
  }
  if (!status.ok()) {
    Refuse(first, status, now);
    return false;
  }
  if (troubles_.erase(KindOf(first)) > 0) log::Info("answers are stored again", {{"shard", shard}});
  for (std::size_t k = 0; k < outcomes.size(); ++k) {
    const bool is_stored = (reply.IsList() ? reply.at(k) : reply).Number() == 1;
    if (is_stored) CountStored(context_.board, context_.slot, outcomes_[outcomes[k]]);
  }
  return true;
}

void Answers::Refuse(const Outcome& outcome, const absl::Status& status, TimePoint now) {
  const auto [found, is_new] = troubles_.try_emplace(KindOf(outcome), Trouble{kFirstRest, {}});
  Trouble& trouble = found->second;
  if (is_new) {
    log::Error("answers cannot be stored",
               {{"shard", outcome.frame.shard}, {"reason", Message(status)}});
  }
  // One that was in work when the rest began says nothing new.
  if (now < trouble.until) return;
  if (!is_new) trouble.pause = std::min(2 * trouble.pause, kLongestRest);
  trouble.until = now + trouble.pause;
}

void Answers::LetRest(const Outcome& outcome) {
  const auto trouble = troubles_.find(KindOf(outcome));
  if (trouble == troubles_.end()) return;
  const TimePoint until = trouble->second.until;
  if (outcome.what == Outcome::What::kAnswer) {
    ownership_.leases().Rest(outcome.frame.shard, until);
  } else if (Camera* camera = schedule_.Find(outcome.frame.camera)) {
    schedule_.Rest(*camera, until);
  }
}

std::optional<TimePoint> Answers::NextDue() const {
  std::optional<TimePoint> next;
  const FrameQueue::Progress progress = queue_.progress();
  if (outcomes_.size() + progress.outcomes > 0) {
    next = FirstOf(progress) + kGather;
  }
  for (const Pausing& retry : retries_) next = std::min(next.value_or(retry.at), retry.at);
  return next;
}

}  // namespace inferpool::streams
