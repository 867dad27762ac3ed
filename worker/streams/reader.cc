#include "worker/streams/reader.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <random>
#include <utility>

#include "shared/base/log.h"
#include "shared/redis/names.h"
#include "worker/streams/address.h"
#include "worker/streams/frame_work.h"
#include "worker/streams/scripts.h"
#include "worker/streams/shares.h"

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBeatEvery{1'000};
constexpr milliseconds kCamerasEvery{2'000};
constexpr milliseconds kAlive{3'000};  // without a heartbeat
// Of the blocking read. Its connection is given up when nothing comes for much longer.
constexpr milliseconds kBlock{5'000};
constexpr milliseconds kPatience{2'000};
// Frames that were taken and are not answered.
constexpr std::size_t kMostBytes = std::size_t{64} << 20;
// A trip that publishes answers waits for more of them while the threads have frames.
constexpr std::size_t kFullTrip = 16;
constexpr milliseconds kGather{2};
// After answers could not be stored.
constexpr milliseconds kSettleAgain{500};
constexpr milliseconds kRestOfWrong{10'000};
// Of a camera whose frame could not be had though there was one.
constexpr milliseconds kRestOfEmpty{50};
constexpr milliseconds kFirstRetry{100};
constexpr milliseconds kLongestRetry{2'000};
// A frame that need not be answered at any price is given up after so long.
constexpr milliseconds kPatienceForModel{5'000};
constexpr int kMostTriesOfBroken = 3;
constexpr int kMostCrashes = 3;
constexpr std::string_view kMostDead = "1000";
constexpr std::string_view kSnapshotLasts = "10000";  // milliseconds

std::string RandomText() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

std::string OwnName() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{}:{}:{}", host.data(), getpid(), RandomText());
}

Policy PolicyOf(std::string_view word) {
  return word == "all" ? Policy::kAll : word == "fifo" ? Policy::kFifo : Policy::kLatest;
}

std::string_view Word(Policy policy) {
  return kStreamPolicies[static_cast<std::size_t>(policy)];
}

std::int64_t ToNumber(std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.begin(), text.end(), number);
  return number;
}

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

bool BreaksConnection(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsPermissionDenied(status);
}

}  // namespace

class Reader::Trip {
 public:
  // Text that lives as long as the trip.
  std::string_view Keep(std::string text) { return texts_.emplace_back(std::move(text)); }
  Redis::ScriptCall& Add(const Script& script) {
    return calls_.emplace_back(Redis::ScriptCall{&script, {}, {}});
  }
  absl::StatusOr<std::vector<OwnedReply>> Go(Redis& redis) const { return redis.RunAll(calls_); }
  std::size_t size() const { return calls_.size(); }

 private:
  std::deque<std::string> texts_;
  std::vector<Redis::ScriptCall> calls_;
};

Reader::Reader(const IngestContext& context, FrameQueue& queue, std::size_t threads)
    : context_(context),
      config_(context.config.streams),
      queue_(queue),
      threads_(threads),
      name_(OwnName()),
      pauses_(std::random_device{}()),
      leases_(config_.shards) {}

void Reader::Stop() {
  stopping_ = true;
  queue_.Wake();
}

void Reader::Run() {
  while (true) {
    if (!redis_) {
      if (stopping_) return;  // the leases end by themselves
      if (const absl::Status status = Connect(); !status.ok()) {
        Disconnect(status);
        PauseUntilNextTry();
        continue;
      }
    }
    if (const absl::Status status = Turn(); !status.ok()) {
      Disconnect(status);
      if (!stopping_) PauseUntilNextTry();
      continue;
    }
    if (left_ && in_work_ == 0 && leases_.owned() == 0) return;
    Sleep();
  }
}

absl::Status Reader::Connect() {
  RedisAddress address = AddressOf(config_);
  address.patience = kPatience;
  RedisAddress patient = address;
  patient.patience = kBlock + kPatience;
  ASSIGN_OR_RETURN(Redis work, Redis::Connect(address));
  ASSIGN_OR_RETURN(Redis waits, Redis::Connect(patient));
  ASSIGN_OR_RETURN(Redis hears, Redis::Connect(address));
  ASSIGN_OR_RETURN(const OwnedReply id, waits.Call({"CLIENT", "ID"}));
  ASSIGN_OR_RETURN(const OwnedReply heard, hears.Call({"SUBSCRIBE", kChanges}));
  redis_.emplace(Connections{.work = std::move(work),
                             .waits = std::move(waits),
                             .hears = std::move(hears),
                             .waits_id = fmt::format("{}", (*id).Number())});
  pauses_.Reset();
  waits_for_.reset();
  next_beat_ = next_cameras_ = {};
  wakes_others_ = true;  // they shall know at once that we are here
  context_.slot.streams.redis_is_up = 1;
  context_.slot.process.not_ready.Store({});
  if (std::exchange(away_was_logged_, false))
    log::Info("Redis is back", {{"redis", config_.redis}});
  return absl::OkStatus();
}

void Reader::Disconnect(const absl::Status& why) {
  redis_.reset();
  waits_for_.reset();
  received_.clear();
  schedule_.PutBack();
  context_.slot.streams.redis_is_up = 0;
  context_.slot.process.not_ready.Store(NotReadyText(Message(why)));
  if (!std::exchange(away_was_logged_, true)) {
    log::Warning("Redis is away", {{"redis", config_.redis}, {"reason", Message(why)}});
  }
}

void Reader::PauseUntilNextTry() {
  const TimePoint until = Clock::now() + pauses_.Next();
  while (!stopping_ && Clock::now() < until) {
    pollfd event{.fd = queue_.fd(), .events = POLLIN, .revents = 0};
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    poll(&event, 1, static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
    queue_.Clear();
    Collect();
  }
}

absl::Status Reader::Turn() {
  const TimePoint now = Clock::now();
  if (stopping_ && !left_) RETURN_IF_ERROR(Leave());
  if (now >= next_cameras_) RETURN_IF_ERROR(LookForCameras(now));
  if (now >= next_beat_) RETURN_IF_ERROR(Beat(now));
  RETURN_IF_ERROR(KeepLeases(now));
  Collect();
  if (SettlingIsDue(now)) RETURN_IF_ERROR(Settle());
  Retried(now);
  if (stopping_) return absl::OkStatus();
  RETURN_IF_ERROR(LookAndTake(now));
  return Wait(now);
}

// Who we share the shards with.
absl::Status Reader::Beat(TimePoint now) {
  next_beat_ = now + kBeatEvery;
  if (stopping_) return absl::OkStatus();
  const std::string alive = fmt::format("{}", kAlive.count());
  ASSIGN_OR_RETURN(const OwnedReply reply,
                   redis_->work.Run({&HeartbeatScript(), {kConsumers}, {name_, alive}}));
  std::vector<std::string> processes;
  for (std::size_t i = 0; i < (*reply).size(); ++i) {
    processes.emplace_back((*reply).at(i).Text());
  }
  processes_ = processes.size();
  leases_.Want(ShareOf(name_, processes, config_.shards), now);
  RETURN_IF_ERROR(SeeWhoLooks(now));
  if (std::exchange(wakes_others_, false)) {
    RETURN_IF_ERROR(redis_->work.Call({"PUBLISH", kChanges, name_}).status());
  }
  return absl::OkStatus();
}

// Of which cameras somebody wants to see pictures.
absl::Status Reader::SeeWhoLooks(TimePoint now) {
  looks_.Tidy(now);
  std::map<int, std::vector<std::string_view>> cameras;  // by shard
  for (const auto& [id, camera] : schedule_.cameras()) cameras[camera.shard].push_back(id);
  std::deque<std::string> keys;
  std::vector<Arguments> commands;
  for (const auto& [shard, ids] : cameras) {
    Arguments& command = commands.emplace_back(Arguments{"MGET"});
    for (const std::string_view id : ids) command.push_back(keys.emplace_back(LookKey(shard, id)));
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis_->work.CallAll(commands));
  std::size_t next = 0;
  for (const auto& [shard, ids] : cameras) {
    const Reply looks = *replies[next++];
    for (std::size_t i = 0; i < looks.size() && i < ids.size(); ++i) {
      if (!looks.at(i).IsNil()) looks_.Seen(ids[i], now);
    }
  }
  return absl::OkStatus();
}

// Stores the pictures of cameras that somebody looks at. One that cannot be stored is missed by
// nobody for longer than a second.
absl::Status Reader::StoreSnapshots() {
  std::deque<std::string> keys;
  std::vector<Arguments> commands;
  for (const Outcome& outcome : outcomes_) {
    const Frame& frame = outcome.frame;
    if (outcome.snapshot.empty() || !leases_.Has(frame.shard)) continue;
    commands.push_back({"SET", keys.emplace_back(SnapshotKey(frame.shard, frame.camera)),
                        outcome.snapshot, "PX", kSnapshotLasts});
  }
  return commands.empty() ? absl::OkStatus() : redis_->work.CallAll(commands).status();
}

// We take nothing more, and the others may have our shards.
absl::Status Reader::Leave() {
  left_ = true;
  leases_.Want({}, Clock::now());
  RETURN_IF_ERROR(StopWaiting());
  RETURN_IF_ERROR(redis_->work.Call({"ZREM", kConsumers, name_}).status());
  // What would be tried again is for the next owner.
  for (const Retry& retry : std::exchange(retries_, {}))
    End(retry.frame, retry.frame.picture.size());
  return redis_->work.Call({"PUBLISH", kChanges, name_}).status();
}

absl::Status Reader::LookForCameras(TimePoint now) {
  next_cameras_ = now + kCamerasEvery;
  if (!config_.camera_set.empty()) {
    const auto members = redis_->work.Call({"SMEMBERS", config_.camera_set});
    if (members.ok()) {
      camera_set_.clear();
      for (std::size_t i = 0; i < (**members).size(); ++i) {
        const std::string_view id = (**members).at(i).Text();
        if (IsCameraId(id)) camera_set_.emplace(id);
      }
    } else if (BreaksConnection(members.status())) {
      return members.status();
    }  // a key of another type: those that are known stay
  }
  SetCameras();
  return ReadLedgers();
}

CameraOptions Reader::OptionsOf(const std::string& id) const {
  CameraOptions options{
      .model = config_.model, .policy = PolicyOf(config_.policy), .max_age_ms = config_.max_age_ms};
  const auto found = config_.cameras.find(id);
  if (found == config_.cameras.end()) return options;
  const Config::Camera& camera = found->second;
  if (!camera.model.empty()) options.model = camera.model;
  if (!camera.policy.empty()) options.policy = PolicyOf(camera.policy);
  options.parameters = camera.parameters;
  options.max_age_ms = camera.max_age_ms.value_or(config_.max_age_ms);
  options.rate = camera.rate;
  options.priority = ParsePriority(camera.priority).value_or(Priority::kNormal);
  return options;
}

// Those of the shards that we have.
void Reader::SetCameras() {
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(config_.shards), 0);
  const auto set = [&](const std::string& id) {
    const int shard = ShardOf(id, config_.shards);
    if (!leases_.Has(shard)) return;
    ++counts[static_cast<std::size_t>(shard)];
    schedule_.Set(id, shard, OptionsOf(id));
  };
  for (const auto& [id, camera] : config_.cameras) set(id);
  for (const std::string& id : camera_set_) {
    if (!config_.cameras.contains(id)) set(id);
  }
  schedule_.Keep([this](const Camera& camera) {
    return leases_.Has(camera.shard) &&
           (camera_set_.contains(camera.id) || config_.cameras.contains(camera.id));
  });
  for (int shard = 0; shard < config_.shards; ++shard) {
    if (leases_.Has(shard)) Counts(shard).cameras = counts[static_cast<std::size_t>(shard)];
  }
}

absl::Status Reader::ReadLedgers() {
  std::vector<std::string> keys;
  std::vector<int> shards;
  for (int shard = 0; shard < config_.shards; ++shard) {
    if (!leases_.Has(shard)) continue;
    shards.push_back(shard);
    keys.push_back(LedgerKey(shard));
  }
  std::vector<Arguments> commands;
  for (const std::string& key : keys) commands.push_back({"HGETALL", key});
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis_->work.CallAll(commands));
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const Reply ledger = *replies[i];
    std::array<std::uint64_t, kLedgerEntries> sums{};
    for (std::size_t field = 0; field + 1 < ledger.size(); field += 2) {
      const std::string_view name = ledger.at(field).Text();
      const auto entry = std::ranges::find(kLedgerNames, name.substr(name.rfind(':') + 1));
      if (entry == kLedgerNames.end()) continue;
      sums[static_cast<std::size_t>(entry - kLedgerNames.begin())] +=
          static_cast<std::uint64_t>(ledger.at(field + 1).Number());
    }
    StreamShard& counts = Counts(shards[i]);
    for (std::size_t entry = 0; entry < kLedgerEntries; ++entry) counts.ledger[entry] = sums[entry];
    std::uint64_t waiting = 0;
    for (const auto& [id, camera] : schedule_.cameras()) {
      if (camera.shard == shards[i]) {
        waiting += static_cast<std::uint64_t>(std::max<std::int64_t>(camera.waiting, 0));
      }
    }
    counts.waiting = waiting;
  }
  return absl::OkStatus();
}

absl::Status Reader::KeepLeases(TimePoint now) {
  const Leases::Due due = leases_.WhatIsDue(now);
  if (due.acquire.empty() && due.renew.empty() && due.release.empty()) return absl::OkStatus();
  // The blocking read must not be given frames of a shard that is somebody else's.
  if (!due.release.empty()) RETURN_IF_ERROR(StopWaiting());
  Trip trip;
  const std::string_view time = trip.Keep(fmt::format("{}", kLeaseTime.count()));
  std::vector<std::string> tokens;
  for (const int shard : due.acquire) {
    tokens.push_back(RandomText());
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
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, trip.Go(redis_->work));
  for (const OwnedReply& reply : replies) {
    const absl::Status status = (*reply).ToStatus();
    if (BreaksConnection(status)) return status;
  }
  std::size_t next = 0;
  bool got_some = false;
  for (std::size_t i = 0; i < due.acquire.size(); ++i) {
    const int shard = due.acquire[i];
    if ((*replies[next++]).Number() == 1) {
      leases_.Acquired(shard, tokens[i], now);
      Counts(shard).Count(StreamEvent::kLeaseChange);
      Counts(shard).owner = getpid();
      got_some = true;
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
  if (got_some || !due.release.empty()) SetCameras();
  if (due.release.empty()) return absl::OkStatus();
  return redis_->work.Call({"PUBLISH", kChanges, name_}).status();
}

void Reader::Lose(int shard, TimePoint now) {
  if (!leases_.Has(shard)) return;
  leases_.Lost(shard, now);
  Counts(shard).Count(StreamEvent::kLeaseChange);
  std::int32_t self = getpid();  // another process of the pool may have it by now
  Counts(shard).owner.compare_exchange_strong(self, 0);
  schedule_.Keep([shard](const Camera& camera) { return camera.shard != shard; });
}

// ------------------------------------------------------------ answers

void Reader::Collect() {
  for (Outcome& outcome : queue_.Outcomes()) {
    frame_us_ += (static_cast<double>(outcome.worked_us) - frame_us_) / 64;
    const Frame& frame = outcome.frame;
    if (outcome.what == Outcome::What::kRetry && outcome.status == 500 &&
        frame.tries + 1 >= kMostTriesOfBroken) {
      outcome.what = Outcome::What::kAnswer;
    }
    if (outcome.what == Outcome::What::kRetry && frame.policy != Policy::kAll &&
        Clock::now() - frame.read_at > kPatienceForModel) {
      outcome.what = Outcome::What::kAnswer;  // that there was no model is an answer too
    }
    if (outcome.what != Outcome::What::kRetry) {
      if (!first_outcome_) first_outcome_ = Clock::now();
      outcomes_.push_back(std::move(outcome));
    } else if (stopping_) {
      End(frame, outcome.bytes);  // it stays pending, for the next owner
    } else {
      Counts(frame.shard).Count(StreamEvent::kRetried);
      const auto pause = std::min(kFirstRetry * (1 << std::min(frame.tries, 8)), kLongestRetry);
      ++outcome.frame.tries;
      retries_.push_back({Clock::now() + pause, std::move(outcome.frame)});
    }
  }
}

void Reader::Retried(TimePoint now) {
  for (std::size_t i = 0; i < retries_.size();) {
    Retry& retry = retries_[i];
    if (now < retry.at) {
      ++i;
      continue;
    }
    if (leases_.Has(retry.frame.shard)) {
      queue_.Put(std::move(retry.frame));
    } else {
      End(retry.frame, retry.frame.picture.size());
    }
    std::swap(retry, retries_.back());
    retries_.pop_back();
  }
}

bool Reader::SettlingIsDue(TimePoint now) const {
  if (outcomes_.empty() || now < settle_after_) return false;
  return stopping_ || outcomes_.size() >= kFullTrip || queue_.waiting() < threads_ ||
         now >= *first_outcome_ + kGather;
}

// Publishes the answers and drops what is given up, in one trip. Whatever breaks it, they are tried
// again: Redis takes each only once.
absl::Status Reader::Settle() {
  // Before the answers, on which those who wait for a picture look for one.
  RETURN_IF_ERROR(StoreSnapshots());
  Trip trip;
  std::map<int, std::vector<std::size_t>> answers;  // by shard
  std::vector<std::vector<std::size_t>> of_call;
  for (std::size_t i = 0; i < outcomes_.size(); ++i) {
    const Outcome& outcome = outcomes_[i];
    const Frame& frame = outcome.frame;
    if (!leases_.Has(frame.shard)) continue;
    if (outcome.what == Outcome::What::kAnswer) {
      answers[frame.shard].push_back(i);
      continue;
    }
    const bool is_dead = outcome.what == Outcome::What::kDead;
    Redis::ScriptCall& call = trip.Add(DropScript());
    call.keys = {trip.Keep(LeaseKey(frame.shard)), trip.Keep(LedgerKey(frame.shard)),
                 trip.Keep(DeadKey(frame.shard)), trip.Keep(FramesKey(frame.shard, frame.camera))};
    call.arguments = {leases_.token(frame.shard),
                      kGroup,
                      frame.camera,
                      frame.id,
                      ReasonOf(outcome.what),
                      is_dead ? std::string_view(outcome.json) : std::string_view(),
                      kMostDead};
    of_call.push_back({i});
  }
  const std::string_view most = trip.Keep(fmt::format("{}", config_.results_max));
  for (const auto& [shard, indices] : answers) {
    Redis::ScriptCall& call = trip.Add(PublishScript());
    call.keys = {trip.Keep(LeaseKey(shard)), trip.Keep(LedgerKey(shard)),
                 trip.Keep(ResultsKey(shard))};
    call.arguments = {leases_.token(shard), kGroup, most};
    for (const std::size_t i : indices) {
      const Outcome& outcome = outcomes_[i];
      const Frame& frame = outcome.frame;
      call.keys.push_back(trip.Keep(FramesKey(shard, frame.camera)));
      call.arguments.insert(
          call.arguments.end(),
          {frame.camera, frame.id, frame.seq, trip.Keep(fmt::format("{}", outcome.status)),
           outcome.json, trip.Keep(fmt::format("{}", frame.captured_ms)),
           trip.Keep(fmt::format("{}", frame.read_ms)),
           trip.Keep(fmt::format("{}", outcome.answered_ms))});
    }
    of_call.push_back(indices);
  }
  std::vector<OwnedReply> replies;
  if (trip.size() > 0) {
    ASSIGN_OR_RETURN(replies, trip.Go(redis_->work));
  }
  std::vector<bool> again(outcomes_.size(), false);
  for (std::size_t call = 0; call < of_call.size(); ++call) {
    const Reply reply = *replies[call];
    const absl::Status status = reply.ToStatus();
    if (BreaksConnection(status)) return status;
    const int shard = outcomes_[of_call[call].front()].frame.shard;
    if (absl::IsAborted(status)) {
      Lose(shard, Clock::now());
      continue;
    }
    if (!status.ok()) {
      log::Error("answers cannot be stored", {{"shard", shard}, {"reason", Message(status)}});
      for (const std::size_t i : of_call[call]) again[i] = true;
      continue;
    }
    for (std::size_t k = 0; k < of_call[call].size(); ++k) {
      const Outcome& outcome = outcomes_[of_call[call][k]];
      const bool stored = (reply.IsList() ? reply.at(k) : reply).Number() == 1;
      if (stored) CountAnswer(outcome);
    }
  }
  std::vector<Outcome> left;
  for (std::size_t i = 0; i < outcomes_.size(); ++i) {
    if (again[i]) {
      left.push_back(std::move(outcomes_[i]));
    } else {
      End(outcomes_[i].frame, outcomes_[i].bytes);
    }
  }
  StreamProcess& counts = context_.slot.streams;
  counts.trips.fetch_add(1, std::memory_order_relaxed);
  counts.frames.fetch_add(outcomes_.size() - left.size(), std::memory_order_relaxed);
  outcomes_ = std::move(left);
  first_outcome_.reset();
  if (!outcomes_.empty()) {
    first_outcome_ = Clock::now();
    settle_after_ = *first_outcome_ + kSettleAgain;
  }
  return absl::OkStatus();
}

void Reader::CountAnswer(const Outcome& outcome) {
  const Frame& frame = outcome.frame;
  StreamShard& counts = Counts(frame.shard);
  if (outcome.what == Outcome::What::kDead) counts.Count(StreamEvent::kDead);
  if (outcome.what != Outcome::What::kAnswer) return;
  counts.Count(StreamEvent::kAnswered);
  Histogram& ages = context_.slot.answer_age;
  const std::int64_t us = std::max<std::int64_t>(NowMs() - frame.captured_ms, 0) * 1'000;
  const auto bound = std::ranges::lower_bound(kBucketBoundsUs, us);
  ages.buckets[static_cast<std::size_t>(bound - kBucketBoundsUs.begin())].fetch_add(
      1, std::memory_order_relaxed);
  ages.sum_us.fetch_add(static_cast<std::uint64_t>(us), std::memory_order_relaxed);
}

// ------------------------------------------------------------ frames

bool Reader::HasRoom() const {
  return in_work_ < Depth(threads_, frame_us_) && bytes_in_work_ < kMostBytes;
}

void Reader::Begin(Camera& camera, Frame frame) {
  schedule_.Took(camera, frame.picture.size(), frame.read_at);
  ++in_work_;
  bytes_in_work_ += frame.picture.size();
  leases_.Began(camera.shard);
  StreamShard& counts = Counts(camera.shard);
  counts.Count(StreamEvent::kRead);
  if (frame.claimed) counts.Count(StreamEvent::kClaimed);
  frame.snapshot = looks_.IsDue(frame.camera, Clock::now());
  queue_.Put(std::move(frame));
}

void Reader::End(const Frame& frame, std::size_t bytes) {
  --in_work_;
  bytes_in_work_ -= bytes;
  leases_.Ended(frame.shard);
  if (Camera* camera = schedule_.Find(frame.camera)) schedule_.Done(*camera);
}

absl::Status Reader::LookAndTake(TimePoint now) {
  while (HasRoom()) {
    RETURN_IF_ERROR(Look(now));
    const std::size_t room = Depth(threads_, frame_us_) - in_work_;
    const std::vector<Camera*> cameras = schedule_.Next(room, kMostBytes - bytes_in_work_);
    if (cameras.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(Take(cameras, now));
  }
  return absl::OkStatus();
}

// Finds out which cameras have frames, when no other is known that has one.
absl::Status Reader::Look(TimePoint now) {
  std::map<int, std::vector<Camera*>> by_shard;
  for (Camera* camera : schedule_.ToLookAt(!schedule_.has_ready(), now)) {
    if (!leases_.MayTake(camera->shard, now)) continue;
    // The blocking read has an eye on it.
    if (waits_for_ && waits_for_->contains(camera->id)) continue;
    by_shard[camera->shard].push_back(camera);
  }
  if (by_shard.empty()) return absl::OkStatus();
  Trip trip;
  for (const auto& [shard, cameras] : by_shard) {
    Redis::ScriptCall& call = trip.Add(PeekScript());
    for (const Camera* camera : cameras) call.keys.push_back(camera->key);
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, trip.Go(redis_->work));
  std::size_t next = 0;
  for (const auto& [shard, cameras] : by_shard) {
    const Reply waiting = *replies[next++];
    RETURN_IF_ERROR(waiting.ToStatus());
    for (std::size_t i = 0; i < cameras.size(); ++i) {
      Camera& camera = *cameras[i];
      const std::int64_t count = waiting.at(i).Number();
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

std::string_view Reader::FieldName(std::string_view field) const {
  const auto found = config_.fields.find(std::string(field));
  return found == config_.fields.end() ? field : std::string_view(found->second);
}

Frame Reader::FrameOf(const Camera& camera, Reply id, Reply fields, bool claimed) const {
  Frame frame{.camera = camera.id, .shard = camera.shard, .id = std::string(id.Text())};
  frame.model = camera.options.model;
  frame.parameters = camera.options.parameters;
  frame.policy = camera.options.policy;
  frame.max_age_ms = camera.options.max_age_ms;
  frame.claimed = claimed;
  frame.read_at = Clock::now();
  frame.read_ms = NowMs();
  frame.captured_ms = ToNumber(frame.id);
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    const std::string_view name = fields.at(i).Text();
    const std::string_view value = fields.at(i + 1).Text();
    if (name == FieldName("picture")) {
      frame.picture = value;
    } else if (name == FieldName("frame")) {
      frame.handle = value;
    } else if (name == FieldName("seq")) {
      frame.seq = value;
    } else if (name == FieldName("time")) {
      if (const std::int64_t time = ToNumber(value); time > 0) frame.captured_ms = time;
    } else if (name == FieldName("model") && !value.empty()) {
      frame.model = value;
    } else if (name == FieldName("parameters")) {
      frame.parameters = value;
    }
  }
  return frame;
}

// How often the frame was in the hands of a thread that crashed, as far as the pool remembers.
int Reader::CrashesOf(const Frame& frame) const {
  const RequestName name = RequestNameOf(frame);
  return static_cast<int>(std::ranges::count_if(
      context_.board.Crashes(),
      [&](const CrashRecord& crash) { return crash.task.request_id == name; }));
}

absl::Status Reader::Take(const std::vector<Camera*>& cameras, TimePoint now) {
  std::map<int, std::vector<Camera*>> by_shard;
  for (Camera* camera : cameras) {
    // A lease that may have ended is renewed first.
    if (leases_.MayTake(camera->shard, now)) {
      by_shard[camera->shard].push_back(camera);
    } else {
      received_.erase(camera->id);
      schedule_.NotThere(*camera);
    }
  }
  Trip trip;
  const std::string_view wall = trip.Keep(fmt::format("{}", NowMs()));
  const std::string_view largest =
      trip.Keep(fmt::format("{}", static_cast<std::size_t>(context_.config.limits.body_mb) << 20));
  const std::string_view enough =
      trip.Keep(fmt::format("{}", (kMostBytes - std::min(bytes_in_work_, kMostBytes)) /
                                          std::max<std::size_t>(by_shard.size(), 1) +
                                      1));
  for (const auto& [shard, of_shard] : by_shard) {
    Redis::ScriptCall& call = trip.Add(TakeScript());
    call.keys = {trip.Keep(LeaseKey(shard)), trip.Keep(LedgerKey(shard))};
    call.arguments = {
        leases_.token(shard), kGroup, kConsumer, wall, FieldName("epoch"), FieldName("seq"),
        FieldName("time"),    enough, largest};
    for (const Camera* camera : of_shard) {
      const auto received = received_.find(camera->id);
      call.keys.push_back(camera->key);
      call.arguments.insert(call.arguments.end(),
                            {camera->id, Word(camera->options.policy),
                             trip.Keep(fmt::format("{}", camera->options.max_age_ms)),
                             received == received_.end() ? std::string_view()
                                                         : std::string_view(received->second.id)});
    }
  }
  if (trip.size() == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, trip.Go(redis_->work));
  std::size_t next = 0;
  std::size_t taken = 0;
  for (const auto& [shard, of_shard] : by_shard) {
    const Reply reply = *replies[next++];
    const absl::Status status = reply.ToStatus();
    if (BreaksConnection(status)) return status;
    std::vector<bool> has_frame(of_shard.size(), false);
    std::vector<Frame> blamed;
    for (std::size_t i = 0; i < reply.size(); ++i) {
      const Reply item = reply.at(i);
      const auto at = static_cast<std::size_t>(item.at(0).Number()) - 1;
      if (at >= of_shard.size()) continue;
      Camera& camera = *of_shard[at];
      camera.needs_group = false;
      if (item.size() < 3) {
        schedule_.Rest(camera, now + kRestOfWrong);
        continue;
      }
      has_frame[at] = true;
      Frame frame;
      if (item.size() == 3) {  // its fields came before
        frame = std::move(received_[camera.id]);
        frame.claimed = false;
      } else {
        frame = FrameOf(camera, item.at(2), item.at(3), item.at(1).Text() == "claimed");
      }
      ++taken;
      const bool claimed = frame.claimed;
      if (claimed && CrashesOf(frame) > 0) blamed.push_back(frame);
      if (blamed.empty() || blamed.back().id != frame.id || blamed.back().camera != frame.camera) {
        Begin(camera, std::move(frame));
      }
    }
    for (std::size_t i = 0; i < of_shard.size(); ++i) {
      received_.erase(of_shard[i]->id);
      if (has_frame[i]) continue;
      Camera& camera = *of_shard[i];
      if (!status.ok()) {
        schedule_.Rest(camera, now + kBeatEvery);
      } else if (!std::exchange(camera.needs_group, false) && camera.waiting > 0) {
        schedule_.Rest(camera, now + kRestOfEmpty);
      }
      schedule_.NotThere(camera);
    }
    if (absl::IsAborted(status)) {
      Lose(shard, now);
    } else if (!status.ok()) {
      log::Error("frames cannot be taken", {{"shard", shard}, {"reason", Message(status)}});
    }
    // A frame that crashed too often is given up before it is worked on again.
    for (Frame& frame : blamed) {
      const std::string crashes = fmt::format("{}", CrashesOf(frame));
      const std::string lease = LeaseKey(shard);
      const std::string ledger = LedgerKey(shard);
      const auto known =
          redis_->work.Run({&BlameScript(),
                            {lease, ledger},
                            {leases_.token(shard), frame.camera, frame.id, crashes}});
      if (BreaksConnection(known.status())) return known.status();
      Camera* camera = schedule_.Find(frame.camera);
      if (camera == nullptr) continue;
      const std::size_t bytes = frame.picture.size();
      if (!known.ok() || (**known).Number() < kMostCrashes) {
        Begin(*camera, std::move(frame));
        continue;
      }
      schedule_.Took(*camera, bytes, now);
      ++in_work_;
      bytes_in_work_ += bytes;
      leases_.Began(shard);
      outcomes_.push_back({.frame = std::move(frame),
                           .what = Outcome::What::kDead,
                           .status = 500,
                           .json = fmt::format("its thread crashed {} times", (**known).Number()),
                           .bytes = bytes});
      if (!first_outcome_) first_outcome_ = now;
    }
  }
  StreamProcess& counts = context_.slot.streams;
  counts.trips.fetch_add(1, std::memory_order_relaxed);
  counts.frames.fetch_add(taken, std::memory_order_relaxed);
  return absl::OkStatus();
}

// ------------------------------------------------------------ waiting

std::set<std::string> Reader::Idle(TimePoint now) {
  std::set<std::string> idle;
  std::size_t bytes = 0;
  for (const Camera* camera : schedule_.ToLookAt(/*all=*/true, now)) {
    if (camera->needs_group || !leases_.MayTake(camera->shard, now)) continue;
    bytes += camera->frame_bytes;
    if (bytes > kMostBytes) break;
    idle.insert(camera->id);
  }
  return idle;
}

absl::Status Reader::Wait(TimePoint now) {
  // While there is no room, frames wait where they are.
  if (!HasRoom()) return absl::OkStatus();
  std::set<std::string> idle = Idle(now);
  if (waits_for_) {
    if (std::ranges::includes(*waits_for_, idle)) return absl::OkStatus();
    RETURN_IF_ERROR(StopWaiting());
    idle = Idle(now);  // it may have got something at the last moment
  }
  if (idle.empty()) return absl::OkStatus();
  const std::string block = fmt::format("{}", kBlock.count());
  Arguments command = {"XREADGROUP", "GROUP", kGroup, kConsumer, "COUNT",
                       "1",          "BLOCK", block,  "STREAMS"};
  for (const std::string& id : idle) command.push_back(schedule_.Find(id)->key);
  for (std::size_t i = 0; i < idle.size(); ++i) command.emplace_back(">");
  RETURN_IF_ERROR(redis_->waits.Send(command));
  waits_for_ = std::move(idle);
  return absl::OkStatus();
}

absl::Status Reader::StopWaiting() {
  if (!waits_for_) return absl::OkStatus();
  // Redis may not have seen the blocking read yet: then it is not blocked, and will be.
  pollfd answer{.fd = redis_->waits.fd(), .events = POLLIN, .revents = 0};
  while (true) {
    ASSIGN_OR_RETURN(const OwnedReply unblocked,
                     redis_->work.Call({"CLIENT", "UNBLOCK", redis_->waits_id}));
    if ((*unblocked).Number() == 1 || poll(&answer, 1, /*timeout=*/1) == 1) return Receive();
  }
}

absl::Status Reader::Receive() {
  const std::set<std::string> waited = *std::exchange(waits_for_, std::nullopt);
  ASSIGN_OR_RETURN(const OwnedReply owned, redis_->waits.Receive());
  const Reply reply = *owned;
  if (const absl::Status status = reply.ToStatus(); !status.ok()) {
    if (BreaksConnection(status)) return status;
    // A group was lost, or a key became something else: taking makes groups and finds out.
    for (const std::string& id : waited) {
      if (Camera* camera = schedule_.Find(id)) camera->needs_group = true;
    }
    return absl::OkStatus();
  }
  std::vector<Camera*> cameras;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const std::string_view key = reply.at(i).at(0).Text();
    const Reply entries = reply.at(i).at(1);
    constexpr std::string_view kBeforeId = "}:cam:";
    const std::size_t at = key.find(kBeforeId);
    if (at == std::string_view::npos || entries.size() == 0) continue;
    Camera* camera = schedule_.Find(key.substr(at + kBeforeId.size()));
    // One that is in work, or is no longer ours, has its frame claimed later.
    if (camera == nullptr || camera->state == Camera::State::kInWork) continue;
    received_[camera->id] =
        FrameOf(*camera, entries.at(0).at(0), entries.at(0).at(1), /*claimed=*/false);
    cameras.push_back(camera);
  }
  return cameras.empty() ? absl::OkStatus() : Take(cameras, Clock::now());
}

absl::Status Reader::Hear() {
  ASSIGN_OR_RETURN(OwnedReply reply, redis_->hears.Receive());
  while (true) {
    if ((*reply).size() == 3 && (*reply).at(2).Text() != name_) {
      next_beat_ = {};
      leases_.TryNow();
    }
    std::optional<OwnedReply> next = redis_->hears.ReceiveBuffered();
    if (!next) return absl::OkStatus();
    reply = *std::move(next);
  }
}

// Until something happens, or is due.
void Reader::Sleep() {
  TimePoint until = std::min(next_beat_, next_cameras_);
  const auto earlier = [&](std::optional<TimePoint> at) {
    if (at) until = std::min(until, *at);
  };
  earlier(leases_.NextDue());
  const TimePoint now = Clock::now();
  if (HasRoom()) earlier(schedule_.NextDue(now));
  if (!outcomes_.empty()) earlier(std::max(*first_outcome_ + kGather, settle_after_));
  for (const Retry& retry : retries_) earlier(retry.at);
  const auto left = std::chrono::ceil<milliseconds>(until - now);
  std::array<pollfd, 3> events{{{.fd = queue_.fd(), .events = POLLIN, .revents = 0},
                                {.fd = redis_->waits.fd(), .events = POLLIN, .revents = 0},
                                {.fd = redis_->hears.fd(), .events = POLLIN, .revents = 0}}};
  poll(events.data(), events.size(),
       static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, 60'000)));
  if (events[0].revents != 0) queue_.Clear();
  absl::Status status;
  if (events[1].revents != 0 && waits_for_) {
    status = Receive();
  } else if (events[1].revents != 0) {
    status = absl::UnavailableError("Redis has closed the connection");
  }
  if (status.ok() && events[2].revents != 0) status = Hear();
  if (!status.ok()) Disconnect(status);
}

StreamShard& Reader::Counts(int shard) const {
  return context_.board.pool().stream_shards[static_cast<std::size_t>(shard)];
}

}  // namespace inferpool::streams
