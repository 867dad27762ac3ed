// What is counted of cameras' streams (worker/streams): for each shard, and for each process.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inferpool {

inline constexpr std::size_t kMaxStreamShards = 256;

// What processes of this pool did.
enum class StreamEvent {
  kRead,         // frames taken
  kClaimed,      // of these, frames that a process before had taken and not answered
  kAnswered,     // answers stored
  kRetried,      // tries of a frame that were repeated
  kDead,         // dead letters
  kLeaseChange,  // leases got or lost
  kStill,        // of the answers, those without the model: nothing moved
};
inline constexpr std::array<std::string_view, 7> kStreamEventNames = {
    "read", "claimed", "answered", "retried", "dead", "lease_change", "still"};
inline constexpr std::size_t kStreamEvents = kStreamEventNames.size();

// What has become of the frames that the producers numbered, as the ledger in Redis has it. The
// first is the sum of the others.
inline constexpr std::array<std::string_view, 8> kLedgerNames = {
    "produced", "published", "superseded", "stale", "trimmed", "overwritten", "failed", "pending"};
inline constexpr std::size_t kLedgerEntries = kLedgerNames.size();

// Written by the process that has the shard's lease.
struct alignas(64) StreamShard {
  std::array<std::atomic<std::uint64_t>, kStreamEvents> events;
  std::array<std::atomic<std::uint64_t>, kLedgerEntries> ledger;  // as it was read last
  std::atomic<std::uint64_t> waiting;  // frames in the streams when they were looked at last
  std::atomic<std::uint32_t> cameras;
  std::atomic<std::int32_t> owner;  // the process that has the lease; 0: none of this pool

  void Count(StreamEvent what, std::uint64_t amount = 1) {
    events[static_cast<std::size_t>(what)].fetch_add(amount, std::memory_order_relaxed);
  }
};

// Of a process. Written by its thread that talks to Redis.
struct StreamProcess {
  std::atomic<std::uint32_t> redis_is_up;
  std::atomic<std::uint64_t> trips;   // to Redis that took or published frames
  std::atomic<std::uint64_t> frames;  // taken or published in them
};

// A shard at one moment.
struct StreamShardTotals {
  int shard = 0;
  std::array<std::uint64_t, kStreamEvents> events{};
  std::array<std::uint64_t, kLedgerEntries> ledger{};
  std::uint64_t waiting = 0;
  std::uint64_t cameras = 0;
  bool owned = false;
};

}  // namespace inferpool
