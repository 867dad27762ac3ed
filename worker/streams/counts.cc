#include "worker/streams/counts.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shared/redis/names.h"

namespace inferpool::streams {
namespace {

// The sums over all cameras of the shard.
std::array<std::uint64_t, kLedgerEntries> Sums(const Reply& ledger) {
  std::array<std::uint64_t, kLedgerEntries> sums{};
  for (std::size_t field = 0; field + 1 < ledger.size(); field += 2) {
    const std::string_view name = ledger.at(field).Text();
    const auto entry = std::ranges::find(kLedgerNames, name.substr(name.rfind(':') + 1));
    if (entry == kLedgerNames.end()) continue;
    sums[static_cast<std::size_t>(entry - kLedgerNames.begin())] +=
        static_cast<std::uint64_t>(ledger.at(field + 1).Number());
  }
  return sums;
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
  Histogram& ages = slot.answer_age;
  const std::int64_t us = std::max<std::int64_t>(NowMs() - frame.captured_ms, 0) * 1'000;
  const auto bound = std::ranges::lower_bound(kBucketBoundsUs, us);
  ages.buckets[static_cast<std::size_t>(bound - kBucketBoundsUs.begin())].fetch_add(
      1, std::memory_order_relaxed);
  ages.sum_us.fetch_add(static_cast<std::uint64_t>(us), std::memory_order_relaxed);
}

absl::Status ReadLedgers(Redis& redis, const Leases& leases, const Schedule& schedule, int shards,
                         const Scoreboard& board) {
  std::vector<std::string> keys;
  std::vector<int> ours;
  for (int shard = 0; shard < shards; ++shard) {
    if (!leases.Has(shard)) continue;
    ours.push_back(shard);
    keys.push_back(LedgerKey(shard));
  }
  std::vector<Arguments> commands;
  for (const std::string& key : keys) commands.push_back({"HGETALL", key});
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis.CallAll(commands));
  std::vector<std::uint64_t> waiting(static_cast<std::size_t>(shards), 0);
  for (const auto& [id, camera] : schedule.cameras()) {
    waiting[static_cast<std::size_t>(camera.shard)] +=
        static_cast<std::uint64_t>(std::max<std::int64_t>(camera.waiting, 0));
  }
  for (std::size_t i = 0; i < ours.size(); ++i) {
    StreamShard& counts = CountsOf(board, ours[i]);
    const auto sums = Sums(*replies[i]);
    for (std::size_t entry = 0; entry < kLedgerEntries; ++entry) counts.ledger[entry] = sums[entry];
    counts.waiting = waiting[static_cast<std::size_t>(ours[i])];
  }
  return absl::OkStatus();
}

}  // namespace inferpool::streams
