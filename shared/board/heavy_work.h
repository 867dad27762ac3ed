// Heavy work: decoding, unpacking and reading inputs that cost much memory or processor time.
//
// A few large inputs must not take the machine from many small ones. What counts as heavy is
// decided by whoever knows the step (worker/predict/picture_cost.h); small requests never come
// here. All workers of a pool share, through the scoreboard:
//
//   seats       requests that work at a heavy step, keep what it made, or wait for one. Three
//               quarters of the pool's threads, so that the others stay free for small requests.
//               One client has at most twice as many as are left free (the "dynamic threshold" of
//               Choudhury and Hahne, 1998), so that there is one for the next client.
//   processors  requests that work at a heavy step at once: one per processor.
//   memory      of bodies, and of steps: half of limits.memory_mb each. One client's bodies take at
//               most twice as much as is left free.
//
// A body that finds no memory, and a request that finds no seat, is refused at once. One that has a
// seat waits for a processor and for memory: first the client that has the least heavy work under
// way, then the first come. One that needs more memory than there is goes alone. One that has kept
// memory, and goes on, comes before all that have yet to begin, and is given what it needs.
//
// Each lane publishes its own claim, and decides by those of the others: no locks, and the claim of
// a worker that dies ends with its slot (Scoreboard::Vacate).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "shared/base/patience.h"
#include "shared/base/status.h"

namespace inferpool {

class Scoreboard;
struct Lane;

// What a lane's request has of it. Written by the lane's request alone.
struct HeavyClaim {
  enum State : std::uint32_t {
    kNone,
    kWaits,    // for a processor, and for memory
    kWorks,    // is at a heavy step
    kKeeps,    // has done it, and keeps memory
    kResumes,  // keeps memory, and waits for a processor
  };

  std::atomic<State> state;
  std::atomic<std::uint64_t> client;
  std::atomic<std::uint64_t> ticket;  // the order of arrival
  std::atomic<std::uint64_t> bytes;   // of the step
  // Of the body, which is read before it is known whether its client has a key.
  std::atomic<std::uint64_t> body_client;
  std::atomic<std::uint64_t> body_bytes;
};

// The same as a value.
struct HeavyEntry {
  HeavyClaim::State state = HeavyClaim::kNone;
  std::uint64_t client = 0;
  std::uint64_t ticket = 0;
  std::uint64_t bytes = 0;
  std::uint64_t body_client = 0;
  std::uint64_t body_bytes = 0;
};

struct HeavyLimits {
  int seats;
  int processors;
  std::uint64_t bytes;  // of steps, and as many of bodies
};

// Whether the body of a request that comes, `own`, gets memory beside those of the `others`.
bool HasBodyRoom(std::span<const HeavyEntry> others, const HeavyEntry& own,
                 const HeavyLimits& limits);

// Whether a request that comes, `own`, gets a seat beside the `others`.
bool HasSeat(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits);

// Whether it is the turn of `own`, which waits for a step.
bool HasTurn(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits);

// Whether `own`, which took its turn, has not taken it at the same moment as one of the `others`.
bool Fits(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits);

// Who a client is to the limits: its IPv4 address, or its IPv6 network of /64.
std::uint64_t HeavyClient(std::string_view address);
// Who one with an API key is.
std::uint64_t HeavyClientOfKey(std::string_view key_name);

// A pool's heavy work as one of its workers sees it. Thread safe, but for one lane one thread at a
// time. The scoreboard must outlive it.
class HeavyWork {
 public:
  struct Options {
    std::uint64_t memory_bytes;
    int processors;  // 0: those that this process may use
    int threads;     // of a worker
  };

  HeavyWork(const Scoreboard& board, const Options& options);

  // A body of at most so many bytes needs no claim: a usual photograph.
  static constexpr std::uint64_t kSmallBody = std::uint64_t{4} << 20;

  // Claims memory for a body until Leave. RESOURCE_EXHAUSTED: there is none now.
  absl::Status ClaimBody(Lane& lane, std::uint64_t client, std::uint64_t bytes) const;

  // Begins a heavy step that takes `bytes`, once there is a processor and memory for it; until
  // then the calling thread waits. Any step before has ended. RESOURCE_EXHAUSTED: there is no seat,
  // or the deadline came first; CANCELLED: the client left.
  absl::Status Begin(Lane& lane, std::uint64_t client, std::uint64_t bytes,
                     const Patience& patience) const;

  // Gives the processor back, and keeps at most `bytes` of the step's memory.
  void Keep(Lane& lane, std::uint64_t bytes) const;

  // After Keep: waits for a processor again, and then has `bytes`, whatever the others have.
  absl::Status Resume(Lane& lane, std::uint64_t bytes, const Patience& patience) const;

  // Gives back what the step still has.
  void End(Lane& lane) const;

  // Gives everything back, at a request's end.
  void Leave(Lane& lane) const;

 private:
  std::vector<HeavyEntry> Others(const Lane& lane) const;
  HeavyLimits Limits() const;
  // Waits in the state `waits` for its turn, and then is in the state `has`; in `before` again
  // when it gives up.
  absl::Status Await(Lane& lane, HeavyClaim::State before, HeavyClaim::State waits,
                     HeavyClaim::State has, const Patience& patience) const;
  void Set(Lane& lane, HeavyClaim::State state) const;
  void Wake() const;

  const Scoreboard& board_;
  Options options_;
};

}  // namespace inferpool
