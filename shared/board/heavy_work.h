// Heavy work: decoding, unpacking and reading inputs that cost much memory or processor time.
//
// A few large inputs must not take the machine from many small ones. The caller, who knows the
// step, decides whether it is heavy (worker/predict/picture_cost.h); small requests never come
// here. All workers of a pool share three things through the scoreboard:
//
//   seats       for requests that work at a heavy step, keep its result, or wait for a step. There
//               are three quarters as many as the pool has threads, so the other threads stay free
//               for small requests. One client has at most twice as many seats as are free (the
//               "dynamic threshold" of Choudhury and Hahne, 1998), so the next client finds one.
//   processors  for requests that work at a heavy step: one each.
//   memory      half of limits.memory_mb for bodies and half for steps. The bodies of one client
//               take at most twice as much as is free.
//
// A body without memory and a request without a seat are refused at once. A request with a seat
// waits for a processor and for memory. The client with the least heavy work in progress goes
// first, then the request that came first. A request that needs more memory than exists runs alone.
// A request that has kept memory and resumes goes before all that have not begun, and gets the
// memory that it needs.
//
// Each thread slot publishes its own claim and decides by the claims of the others. There are no
// locks, and the claim of a worker that dies ends with its slot (Scoreboard::Vacate).
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
struct ThreadSlot;

// The share that a thread slot's request has. Only the threads of that request write it.
struct HeavyClaim {
  enum State : std::uint32_t {
    kNone,
    kWaits,    // for a processor, and for memory
    kWorks,    // is at a heavy step
    kKeeps,    // has finished a step, and keeps memory
    kResumes,  // keeps memory, and waits for a processor
  };

  std::atomic<State> state;
  std::atomic<std::uint64_t> client;
  std::atomic<std::uint64_t> ticket;  // the order of arrival
  std::atomic<std::uint64_t> bytes;   // of the step
  // Of the body, which is read before the client's key is known.
  std::atomic<std::uint64_t> body_client;
  std::atomic<std::uint64_t> body_bytes;
};

// A claim as a value.
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

// Whether the body of the new request `own` gets memory, given the `others`.
bool HasBodyRoom(std::span<const HeavyEntry> others, const HeavyEntry& own,
                 const HeavyLimits& limits);

// Whether the new request `own` gets a seat, given the `others`.
bool HasSeat(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits);

// Whether `own`, which waits for a step, may begin now.
bool HasTurn(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits);

// Whether `own`, which has just taken its turn, still fits beside the `others`: two requests may
// take a turn at the same moment.
bool Fits(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits);

// The identity of a client for the limits: its IPv4 address, or its IPv6 network of /64.
std::uint64_t HeavyClient(std::string_view address);

// The identity of a client that has an API key.
std::uint64_t HeavyClientOfKey(std::string_view key_name);

// A pool's heavy work as one of its workers sees it. Thread safe, except that one thread slot is
// for one thread at a time. The scoreboard must outlive it.
class HeavyWork {
 public:
  struct Options {
    std::uint64_t memory_bytes;
    int processors;  // 0: as many as this process may use
    int threads;     // per worker
  };

  HeavyWork(const Scoreboard& board, const Options& options);

  // A body of at most this many bytes, such as a usual photograph, needs no claim.
  static constexpr std::uint64_t kSmallBody = std::uint64_t{4} << 20;

  // Claims memory for a body until Leave. RESOURCE_EXHAUSTED: there is not enough.
  absl::Status ClaimBody(ThreadSlot& thread_slot, std::uint64_t client, std::uint64_t bytes) const;

  // Waits until there are a processor and `bytes` of memory, and begins a heavy step. The thread
  // slot's step before must have ended. RESOURCE_EXHAUSTED: there is no seat, or the deadline
  // passed first. CANCELLED: the client left.
  absl::Status Begin(ThreadSlot& thread_slot, std::uint64_t client, std::uint64_t bytes,
                     const Patience& patience) const;

  // Gives the processor back and keeps at most `bytes` of the step's memory.
  void Keep(ThreadSlot& thread_slot, std::uint64_t bytes) const;

  // Call it after Keep. Waits for a processor again, then claims `bytes`, whatever the others have.
  // Errors: as Begin.
  absl::Status Resume(ThreadSlot& thread_slot, std::uint64_t bytes, const Patience& patience) const;

  // Ends the step and gives back all that it still has.
  void End(ThreadSlot& thread_slot) const;

  // Gives everything back at the end of the request.
  void Leave(ThreadSlot& thread_slot) const;

 private:
  std::vector<HeavyEntry> Others(const ThreadSlot& thread_slot) const;
  HeavyLimits Limits() const;
  // Waits in the state `waits` for its turn, then enters the state `has`. Returns to the state
  // `before` when it gives up.
  absl::Status Await(ThreadSlot& thread_slot, HeavyClaim::State before, HeavyClaim::State waits,
                     HeavyClaim::State has, const Patience& patience) const;
  void Set(ThreadSlot& thread_slot, HeavyClaim::State state) const;
  void Wake() const;

  const Scoreboard& board_;
  Options options_;
};

}  // namespace inferpool
