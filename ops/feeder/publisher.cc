#include "ops/feeder/publisher.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <random>
#include <thread>
#include <utility>

#include "ops/feeder/watchdog.h"
#include "shared/base/log.h"
#include "shared/redis/names.h"

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;
using streams::Arguments;
using streams::OwnedReply;

constexpr std::chrono::seconds kFarewell{2};
// For so long pictures in shared memory stay after the last one was sent.
constexpr std::chrono::seconds kLinger{10};
constexpr milliseconds kLookPause{20};
constexpr milliseconds kIdle{100};  // between looks at whether we are asked to end
// At most so many streams that are too long are looked at in a millisecond.
constexpr std::size_t kLooksPerMs = 10;
constexpr milliseconds kHeldPause{5};
constexpr std::size_t kMostBytesAtOnce = 4 << 20;
constexpr std::size_t kMostCommandsAtOnce = 500;

std::string RandomEpoch() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

bool IsTooSmallId(const absl::Status& said) {
  return Message(said).find("equal or smaller") != std::string_view::npos;
}

// What Redis will take later, when somebody has helped it; anything else concerns one camera.
bool IsForNow(const absl::Status& said) {
  return absl::IsUnavailable(said) || absl::IsResourceExhausted(said) ||
         Message(said).starts_with("MISCONF") || Message(said).starts_with("NOAUTH") ||
         Message(said).starts_with("NOREPLICAS");
}

}  // namespace

Publisher::Publisher(const Settings& settings, const std::vector<Source>& sources, Outbox& outbox,
                     Counters& counters)
    : address_(settings.redis),
      camera_set_(settings.camera_set),
      remove_(settings.remove),
      most_frames_(fmt::format("{}", settings.most_frames)),
      epoch_(RandomEpoch()),
      outbox_(outbox),
      counters_(counters),
      pauses_(std::random_device()()),
      held_(sources.size()) {
  for (const Source& source : sources) {
    sources_.push_back(
        {.first = cameras_.size(), .cameras = source.cameras.size(), .wait = source.settings.wait});
    if (source.settings.in_memory()) {
      sources_.back().ring.emplace(
          static_cast<std::uint32_t>(SlotsOf(source.settings, settings.most_frames)));
    }
    any_waits_ = any_waits_ || source.settings.wait > 0;
    for (const std::string& id : source.cameras) {
      const int shard = streams::ShardOf(id, settings.shards);
      cameras_.push_back(
          {.source = sources_.size() - 1, .id = id, .key = streams::FramesKey(shard, id)});
    }
  }
}

absl::Status Publisher::Run(const std::stop_token& stop) {
  std::optional<Deadline> end;
  std::optional<Deadline> linger;
  // Ends its sleep at nothing but the time: a farewell is short anyway.
  for (;;) {
    if (stop.stop_requested() && !end) end = Deadline::After(kFarewell);
    if (end && end->Expired(Clock::now())) break;
    if (entries_.empty() && outbox_.Finished()) {
      if (!linger) linger = Deadline::After(kLinger);
      if (linger->Expired(Clock::now()) || LeftInMemory() == 0) break;
      std::this_thread::sleep_for(kLookPause);
      continue;
    }
    absl::Status status = redis_ ? Work() : Connect();
    if (status.ok()) continue;
    const bool never_let_in = !was_connected_ && absl::IsPermissionDenied(status);
    if (never_let_in || absl::IsInvalidArgument(status)) return status;
    ReportAway(status);
    const milliseconds pause = pauses_.Next();
    const Watchdog sleeper(end ? std::stop_token() : stop, pause);
    sleeper.SleepUntil(Clock::now() + pause);
  }
  if (const std::size_t left = entries_.size() + outbox_.size(); left > 0) {
    log::Warning("pictures left unsent", {{"pictures", left}});
  }
  Leave();
  return absl::OkStatus();
}

void Publisher::ReportAway(const absl::Status& status) {
  if (!std::exchange(is_away_, true)) {
    log::Warning("redis takes nothing", {{"redis", address_.where}, {"reason", Message(status)}});
  }
}

absl::Status Publisher::Connect() {
  ASSIGN_OR_RETURN(redis_, streams::Redis::Connect(address_));
  if (absl::Status status = Join(); !status.ok()) {
    redis_.reset();
    return status;
  }
  if (std::exchange(was_connected_, true)) ++counters_.reconnects;
  return absl::OkStatus();
}

// Says that our cameras are there, and hears how long their streams are.
absl::Status Publisher::Join() {
  for (std::size_t begin = 0; begin < cameras_.size(); begin += kMostCommandsAtOnce) {
    Arguments command = {"SADD", camera_set_};
    const std::size_t end = std::min(begin + kMostCommandsAtOnce, cameras_.size());
    for (std::size_t i = begin; i < end; ++i) command.push_back(cameras_[i].id);
    if (const auto said = redis_->Call(command); !said.ok()) return said.status();
  }
  return any_waits_ ? ReadLengths(true) : absl::OkStatus();
}

// One round. An error says that Redis takes nothing now.
absl::Status Publisher::Work() {
  if (entries_.empty()) {
    Enqueue(outbox_.Take(held_, Deadline::After(any_held_ ? held_pause_ : kIdle)));
  }
  absl::Status status = absl::OkStatus();
  if (any_held_) status = ReadLengths(false);
  if (status.ok() && !entries_.empty()) {
    status = SendEntries();
    if (status.ok()) {
      pauses_.Reset();
      if (std::exchange(is_away_, false)) log::Info("redis takes pictures again");
    }
  }
  return status;
}

void Publisher::Enqueue(std::vector<Parcel> parcels) {
  for (Parcel& parcel : parcels) {
    SourceState& source = sources_[parcel.source];
    const std::optional<std::string> handle = PutInMemory(source, parcel.picture);
    if (!handle) {
      counters_.dropped += source.cameras;
      continue;
    }
    for (std::size_t i = source.first; i < source.first + source.cameras; ++i) {
      entries_.push_back({.camera = i,
                          .picture = parcel.picture,
                          .handle = *handle,
                          .id = cameras_[i].ids.Next(parcel.picture.captured_ms).Text(),
                          .seq = fmt::format("{}", parcel.picture.seq),
                          .time = fmt::format("{}", parcel.picture.captured_ms)});
    }
  }
}

std::optional<std::string> Publisher::PutInMemory(SourceState& source, const Picture& picture) {
  if (!source.ring) return std::string();
  absl::StatusOr<std::string> handle = source.ring->Put(picture);
  if (handle.ok()) {
    source.full = false;
    return *std::move(handle);
  }
  if (!std::exchange(source.full, true)) {
    log::Warning("a picture finds no room in shared memory",
                 {{"camera", cameras_[source.first].id}, {"reason", Message(handle.status())}});
  }
  return std::nullopt;
}

std::int64_t Publisher::LeftInMemory() {
  std::vector<Arguments> commands;
  for (const CameraState& camera : cameras_) {
    if (sources_[camera.source].ring) commands.push_back({"XLEN", camera.key});
  }
  if (commands.empty() || !redis_) return 0;
  const absl::StatusOr<std::vector<OwnedReply>> replies = redis_->CallAll(commands);
  if (!replies.ok()) {
    redis_.reset();
    return 0;
  }
  std::int64_t left = 0;
  for (const OwnedReply& reply : *replies) left += (*reply).Number();
  return left;
}

// Sends all entries, some at a time, and keeps those that have to be sent again.
absl::Status Publisher::SendEntries() {
  absl::Status status = absl::OkStatus();
  std::size_t begin = 0;
  while (begin < entries_.size() && status.ok()) {
    std::size_t end = begin;
    for (std::size_t bytes = 0; end < entries_.size() && end - begin < kMostCommandsAtOnce &&
                                (end == begin || bytes < kMostBytesAtOnce);
         ++end) {
      const Entry& entry = entries_[end];
      bytes += entry.handle.empty() ? entry.picture.bytes->size() : entry.handle.size();
    }
    status = Send(begin, end);
    begin = end;
  }
  std::erase_if(entries_, [](const Entry& entry) { return entry.done; });
  UpdateHeld();
  return status;
}

absl::Status Publisher::Send(std::size_t begin, std::size_t end) {
  std::vector<Arguments> commands;
  commands.reserve(2 * (end - begin));
  for (std::size_t i = begin; i < end; ++i) {
    const Entry& entry = entries_[i];
    const CameraState& camera = cameras_[entry.camera];
    const bool waits = sources_[camera.source].wait > 0;
    Arguments& command = commands.emplace_back(Arguments{"XADD", camera.key});
    // Redis trims about so many where that is cheap; but slots are counted.
    if (!waits) {
      command.insert(command.end(), {"MAXLEN", entry.handle.empty() ? "~" : "=", most_frames_});
    }
    command.insert(command.end(),
                   {entry.id, "epoch", epoch_, "seq", entry.seq, "time", entry.time});
    if (entry.handle.empty()) {
      command.insert(command.end(), {"picture", *entry.picture.bytes});
    } else {
      command.insert(command.end(), {"frame", entry.handle});
    }
    if (waits) commands.push_back({"XLEN", camera.key});
  }
  const absl::StatusOr<std::vector<OwnedReply>> replies = redis_->CallAll(commands);
  if (!replies.ok()) {
    for (std::size_t i = begin; i < end; ++i) entries_[i].tried = true;
    redis_.reset();
    return replies.status();
  }
  absl::Status status = absl::OkStatus();
  std::vector<Entry*> too_small;
  for (std::size_t i = begin, at = 0; i < end; ++i) {
    Entry& entry = entries_[i];
    CameraState& camera = cameras_[entry.camera];
    const absl::Status said = (*(*replies)[at++]).ToStatus();
    if (sources_[camera.source].wait > 0) camera.length = (*(*replies)[at++]).Number();
    if (IsTooSmallId(said) && !entry.tried) {
      too_small.push_back(&entry);
    } else if (Settle(entry, said)) {
      status = said;
    }
  }
  for (Entry* entry : too_small) RETURN_IF_ERROR(FollowStream(*entry));
  return status;
}

bool Publisher::Settle(Entry& entry, const absl::Status& said) {
  CameraState& camera = cameras_[entry.camera];
  if (!said.ok() && !IsTooSmallId(said)) {
    if (IsForNow(said)) return true;
    ++counters_.dropped;
    if (!std::exchange(camera.refused, true)) {
      log::Warning("redis refuses a camera's pictures",
                   {{"camera", camera.id}, {"key", camera.key}, {"reason", Message(said)}});
    }
  } else {
    ++counters_.frames;
    counters_.bytes += entry.picture.bytes->size();
    camera.refused = false;
  }
  entry.done = true;
  return false;
}

// The stream has seen greater ids than ours: of a clock that went ahead of this one. The entry gets
// a greater one and is sent with the next round.
absl::Status Publisher::FollowStream(Entry& entry) {
  CameraState& camera = cameras_[entry.camera];
  const auto reply = redis_->Call({"XINFO", "STREAM", camera.key});
  if (!reply.ok()) {
    if (absl::IsUnavailable(reply.status())) redis_.reset();
    return absl::IsInternal(reply.status()) ? absl::OkStatus() : reply.status();
  }
  const streams::Reply fields = **reply;
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    if (fields.at(i).Text() != "last-generated-id") continue;
    if (const auto latest = EntryId::Parse(fields.at(i + 1).Text())) camera.ids.Follow(*latest);
  }
  entry.id = camera.ids.Next(entry.picture.captured_ms).Text();
  return absl::OkStatus();
}

// How long the streams are, of those sources that wait: of all, or of those that were too long.
absl::Status Publisher::ReadLengths(bool all) {
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < cameras_.size(); ++i) {
    const int wait = sources_[cameras_[i].source].wait;
    if (wait > 0 && (all || cameras_[i].length > wait)) asked.push_back(i);
  }
  for (std::size_t begin = 0; begin < asked.size(); begin += kMostCommandsAtOnce) {
    const std::size_t end = std::min(begin + kMostCommandsAtOnce, asked.size());
    std::vector<Arguments> commands;
    for (std::size_t i = begin; i < end; ++i) commands.push_back({"XLEN", cameras_[asked[i]].key});
    const absl::StatusOr<std::vector<OwnedReply>> replies = redis_->CallAll(commands);
    if (!replies.ok()) {
      redis_.reset();
      return replies.status();
    }
    for (std::size_t i = begin; i < end; ++i) {
      cameras_[asked[i]].length = (*(*replies)[i - begin]).Number();
    }
  }
  held_pause_ = kHeldPause + milliseconds(asked.size() / kLooksPerMs);
  UpdateHeld();
  return absl::OkStatus();
}

void Publisher::UpdateHeld() {
  if (!any_waits_) return;
  any_held_ = false;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const SourceState& source = sources_[i];
    held_[i] = false;
    for (std::size_t camera = source.first; camera < source.first + source.cameras; ++camera) {
      held_[i] = held_[i] || (source.wait > 0 && cameras_[camera].length > source.wait);
    }
    any_held_ = any_held_ || held_[i];
  }
}

void Publisher::Leave() {
  if (!remove_ || !redis_) return;
  for (std::size_t begin = 0; begin < cameras_.size(); begin += kMostCommandsAtOnce) {
    Arguments command = {"SREM", camera_set_};
    const std::size_t end = std::min(begin + kMostCommandsAtOnce, cameras_.size());
    for (std::size_t i = begin; i < end; ++i) command.push_back(cameras_[i].id);
    if (const auto said = redis_->Call(command); !said.ok()) {
      log::Warning("cameras stay in the set",
                   {{"set", camera_set_}, {"reason", Message(said.status())}});
      return;
    }
  }
}

}  // namespace inferpool::feeder
