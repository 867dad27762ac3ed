#include "worker/streams/counts.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "shared/redis/names.h"
#include "worker/streams/scripts.h"
#include "worker/streams/trip.h"

namespace inferpool::streams {
namespace {

using Frames = std::array<std::uint64_t, kLedgerEntries>;

// A shard's ledger, by camera. The names view the answer of Redis.
std::unordered_map<std::string_view, Frames> ByCamera(const Reply& ledger) {
  std::unordered_map<std::string_view, Frames> cameras;
  for (std::size_t field = 0; field + 1 < ledger.size(); field += 2) {
    const std::string_view name = ledger.at(field).Text();
    const std::size_t colon = name.rfind(':');
    if (colon == std::string_view::npos) continue;
    const auto entry = std::ranges::find(kLedgerNames, name.substr(colon + 1));
    if (entry == kLedgerNames.end()) continue;
    cameras[name.substr(0, colon)][static_cast<std::size_t>(entry - kLedgerNames.begin())] =
        static_cast<std::uint64_t>(ledger.at(field + 1).Number());
  }
  return cameras;
}

// Names the first of the cameras, which it brings into order.
void Name(std::vector<StreamCamera> cameras, std::size_t most, StreamShard& counts) {
  std::ranges::sort(cameras, [](const StreamCamera& one, const StreamCamera& other) {
    return one.frames.front() != other.frames.front() ? one.frames.front() > other.frames.front()
                                                      : one.name.view() < other.name.view();
  });
  most = std::min({most, cameras.size(), kStreamCameraRows});
  for (std::size_t i = 0; i < most; ++i) counts.busiest[i].Store(cameras[i]);
  if (most < kStreamCameraRows) counts.busiest[most].Store({});  // the end
}

}  // namespace

StreamShard& CountsOf(const Scoreboard& board, int shard) {
  return board.pool().stream_shards[static_cast<std::size_t>(shard)];
}

void CountStored(const Scoreboard& board, WorkerSlot& slot, const Outcome& outcome) {
  const Frame& frame = outcome.frame;
  StreamShard& counts = CountsOf(board, frame.shard);
  if (outcome.what == Outcome::What::kDead) counts.Count(StreamEvent::kDead);
  if (outcome.what != Outcome::What::kAnswer) return;
  counts.Count(StreamEvent::kAnswered);
  if (outcome.still) counts.Count(StreamEvent::kStill);
  if (!IsStored(outcome)) counts.Count(StreamEvent::kNotStored);
  Histogram& ages = slot.answer_age;
  const std::int64_t us = std::max<std::int64_t>(NowMs() - frame.captured_ms, 0) * 1'000;
  const auto bound = std::ranges::lower_bound(kBucketBoundsUs, us);
  ages.buckets[static_cast<std::size_t>(bound - kBucketBoundsUs.begin())].fetch_add(
      1, std::memory_order_relaxed);
  ages.sum_us.fetch_add(static_cast<std::uint64_t>(us), std::memory_order_relaxed);
}

absl::Status ReadCounts(Redis& redis, const Leases& leases, Schedule& schedule,
                        const Config::Streams& settings, const Scoreboard& board) {
  std::map<int, std::vector<Camera*>> by_shard;
  for (int shard = 0; shard < settings.shards; ++shard) {
    if (leases.Has(shard)) by_shard[shard];
  }
  for (Camera* camera : schedule.All()) {
    const auto ours = by_shard.find(camera->shard);
    if (ours != by_shard.end()) ours->second.push_back(camera);
  }
  Trip trip;
  std::vector<Arguments> commands;
  for (const auto& [shard, cameras] : by_shard) {
    Redis::ScriptCall& call = trip.Add(PeekScript());
    for (const Camera* camera : cameras) call.keys.push_back(camera->key);
    commands.push_back({"HGETALL", trip.Keep(LedgerKey(shard))});
    commands.push_back({"HGET", trip.Keep(LossesKey(shard)), "all"});
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> lengths, trip.Go(redis));
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis.CallAll(commands));
  const std::int64_t now = NowMs();
  std::size_t next = 0;
  for (const auto& [shard, cameras] : by_shard) {
    const Reply waiting_of = *lengths[next];
    const auto frames = ByCamera(*replies[2 * next]);
    const auto lost = static_cast<std::uint64_t>((*replies[2 * next + 1]).Number());
    ++next;
    StreamShard& counts = CountsOf(board, shard);
    Frames sums{};
    for (const auto& [id, of_camera] : frames) {
      for (std::size_t i = 0; i < kLedgerEntries; ++i) sums[i] += of_camera[i];
    }
    std::uint64_t waiting = 0;
    std::uint64_t lag_ms = 0;
    std::vector<StreamCamera> told;
    for (std::size_t i = 0; i < cameras.size() && i < waiting_of.size(); ++i) {
      // -1: the key is no stream.
      const std::int64_t length = std::max<std::int64_t>(waiting_of.at(i).Number(), 0);
      schedule.Saw(*cameras[i], length, now);
      StreamCamera& camera = told.emplace_back();
      camera.name = FixedText<129>(cameras[i]->id);
      const auto found = frames.find(cameras[i]->id);
      if (found != frames.end()) camera.frames = found->second;
      camera.waiting = static_cast<std::uint64_t>(length);
      if (const std::int64_t since = cameras[i]->waits_since_ms; since > 0) {
        camera.lag_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(now - since, 0));
      }
      waiting += camera.waiting;
      lag_ms = std::max(lag_ms, camera.lag_ms);
    }
    for (std::size_t i = 0; i < kLedgerEntries; ++i) counts.ledger[i] = sums[i];
    counts.waiting = waiting;
    counts.lag_ms = lag_ms;
    counts.results_lost = lost;
    Name(std::move(told), static_cast<std::size_t>(settings.metrics_cameras), counts);
  }
  board.pool().named_cameras = static_cast<std::uint32_t>(settings.metrics_cameras);
  return absl::OkStatus();
}

}  // namespace inferpool::streams
