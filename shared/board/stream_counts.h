// What is counted of cameras' streams (worker/streams): for each shard, for each process, and of
// the cameras with the most frames. And of those who look at them (ops/live).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shared/base/fixed_text.h"
#include "shared/base/seqlock.h"

namespace inferpool {

inline constexpr std::size_t kMaxStreamShards = 256;

// What processes of this pool did.
enum class StreamEvent {
  kRead,         // frames taken
  kClaimed,      // of these, frames that a process before had taken and not answered
  kAnswered,     // frames whose answer was published
  kNotStored,    // of these, answers without findings that were not to be stored
  kRetried,      // tries of a frame that were repeated
  kDead,         // dead letters
  kLeaseChange,  // leases got or lost
  kStill,        // of the answers, those without the model: nothing moved
};
inline constexpr std::array<std::string_view, 8> kStreamEventNames = {
    "read", "claimed", "answered", "not_stored", "retried", "dead", "lease_change", "still"};
inline constexpr std::size_t kStreamEvents = kStreamEventNames.size();

// What has become of the frames that the producers numbered, as the ledger in Redis has it. The
// first is the sum of the others.
inline constexpr std::array<std::string_view, 8> kLedgerNames = {
    "produced", "published", "superseded", "stale", "trimmed", "overwritten", "failed", "pending"};
inline constexpr std::size_t kLedgerEntries = kLedgerNames.size();

// A camera at one moment.
struct StreamCamera {
  FixedText<129> name = {};                            // empty: there is none
  std::array<std::uint64_t, kLedgerEntries> frames{};  // as the ledger has them
  std::uint64_t waiting = 0;                           // frames in its stream, with that in work
  std::uint64_t lag_ms = 0;                            // the age of the oldest of them
};
inline constexpr std::size_t kStreamCameraRows = 100;

// Written by the process that has the shard's lease.
struct alignas(64) StreamShard {
  std::array<std::atomic<std::uint64_t>, kStreamEvents> events;
  // As it was when the process looked last, which it does every two seconds.
  std::array<std::atomic<std::uint64_t>, kLedgerEntries> ledger;
  std::atomic<std::uint64_t> waiting;       // frames in the streams, with those in work
  std::atomic<std::uint64_t> lag_ms;        // the age of the oldest of them
  std::atomic<std::uint64_t> results_lost;  // to consumer groups, by trimming
  std::array<Seqlock<StreamCamera>, kStreamCameraRows> busiest;  // those with the most frames
  std::atomic<std::uint32_t> cameras;
  std::atomic<std::int32_t> owner;  // the process that has the lease; 0: none of this pool

  void Count(StreamEvent what, std::uint64_t amount = 1) {
    events[static_cast<std::size_t>(what)].fetch_add(amount, std::memory_order_relaxed);
  }
};

// How many frames a trip to Redis took or published. Upper bounds of the buckets; one more bucket
// takes the rest.
inline constexpr std::array<std::uint64_t, 8> kTripBounds = {1, 2, 4, 8, 16, 32, 64, 128};
inline constexpr std::size_t kTripBuckets = kTripBounds.size() + 1;

enum class StreamWay { kIn, kOut };
inline constexpr std::array<std::string_view, 2> kStreamWayNames = {"in", "out"};
inline constexpr std::size_t kStreamWays = kStreamWayNames.size();

struct TripSizes {
  std::array<std::atomic<std::uint64_t>, kTripBuckets> buckets;  // not cumulative
  std::atomic<std::uint64_t> frames;
};

struct TripSizesTotal {
  std::array<std::uint64_t, kTripBuckets> buckets{};
  std::uint64_t frames = 0;
};

// Of a process. Written by its thread that talks to Redis.
struct StreamProcess {
  std::atomic<std::uint32_t> redis_is_up;
  std::array<TripSizes, kStreamWays> trips;

  // A trip that took or published so many frames, which may be none.
  void CountTrip(StreamWay way, std::uint64_t frames);
};

// Of those who look at cameras. Counted by the processes of the role live.
struct LiveCounts {
  std::atomic<std::uint64_t> events;     // sent to those who follow a camera
  std::atomic<std::uint64_t> snapshots;  // sent
  std::atomic<std::uint64_t> too_slow;   // followers that were sent away because they fell behind
};

// A shard at one moment.
struct StreamShardTotals {
  int shard = 0;
  std::array<std::uint64_t, kStreamEvents> events{};
  std::array<std::uint64_t, kLedgerEntries> ledger{};
  std::uint64_t waiting = 0;
  std::uint64_t lag_ms = 0;
  std::uint64_t results_lost = 0;
  std::uint64_t cameras = 0;
  bool owned = false;
};

}  // namespace inferpool
