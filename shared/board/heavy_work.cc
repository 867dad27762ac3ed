#include "shared/board/heavy_work.h"

#include <arpa/inet.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <string>
#include <thread>
#include <tuple>

#include "shared/base/processors.h"
#include "shared/board/scoreboard.h"

namespace inferpool {
namespace {

using State = HeavyClaim::State;

// A waiter looks again after so long, for want of a wake-up: a worker that dies gives none.
constexpr std::chrono::milliseconds kLookAgain{50};
// Two that took one turn at the same moment both let it go, for about so long.
constexpr std::chrono::microseconds kStepBack{500};

bool HasStep(const HeavyEntry& entry) {
  return entry.state == State::kWorks || entry.state == State::kKeeps ||
         entry.state == State::kResumes;
}

// One that finds nothing taken may take any amount.
bool HasMemory(std::uint64_t taken, std::uint64_t wanted, std::uint64_t limit) {
  return taken == 0 || taken + wanted <= limit;
}

void SleepUntilWoken(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                     std::chrono::nanoseconds time) {
  static_assert(sizeof(word) == sizeof(std::uint32_t));
  const timespec timeout{.tv_sec = time.count() / 1'000'000'000,
                         .tv_nsec = time.count() % 1'000'000'000};
  // Between processes, so not std::atomic::wait.
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &timeout, nullptr, 0);
}

}  // namespace

bool HasBodyRoom(std::span<const HeavyEntry> others, const HeavyEntry& own,
                 const HeavyLimits& limits) {
  std::uint64_t taken = 0;
  std::uint64_t of_client = 0;
  for (const HeavyEntry& other : others) {
    taken += other.body_bytes;
    if (other.body_client == own.body_client) of_client += other.body_bytes;
  }
  if (!HasMemory(taken, own.body_bytes, limits.bytes)) return false;
  if (of_client == 0) return true;
  return of_client + own.body_bytes <= 2 * (limits.bytes - taken - own.body_bytes);
}

bool HasSeat(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits) {
  const auto seated = [](const HeavyEntry& entry) { return entry.state != State::kNone; };
  const auto taken = std::ranges::count_if(others, seated) + 1;
  const auto of_client = std::ranges::count_if(others,
                                               [&](const HeavyEntry& entry) {
                                                 return seated(entry) && entry.client == own.client;
                                               }) +
                         1;
  if (taken > limits.seats) return false;
  return of_client == 1 || of_client <= 2 * (limits.seats - taken);
}

bool HasTurn(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits) {
  const auto rank = [&](const HeavyEntry& entry) {
    const auto under_way = std::ranges::count_if(others, [&](const HeavyEntry& other) {
      return other.client == entry.client && HasStep(other);
    });
    return std::tuple(entry.state != State::kResumes, under_way, entry.ticket);
  };
  const auto own_rank = rank(own);
  const auto precedes = [&](const HeavyEntry& other) {
    return (other.state == State::kWaits || other.state == State::kResumes) &&
           rank(other) < own_rank;
  };
  return std::ranges::none_of(others, precedes) && Fits(others, own, limits);
}

bool Fits(std::span<const HeavyEntry> others, const HeavyEntry& own, const HeavyLimits& limits) {
  if (std::ranges::count(others, State::kWorks, &HeavyEntry::state) >= limits.processors) {
    return false;
  }
  if (own.state == State::kResumes) return true;
  std::uint64_t taken = 0;
  for (const HeavyEntry& other : others) {
    if (HasStep(other)) taken += other.bytes;
  }
  return HasMemory(taken, own.bytes, limits.bytes);
}

std::uint64_t HeavyClient(std::string_view address) {
  constexpr std::size_t kNetwork = 8;  // bytes of an IPv6 address
  std::array<unsigned char, sizeof(in6_addr)> ipv6{};
  if (inet_pton(AF_INET6, std::string(address).c_str(), ipv6.data()) == 1) {
    constexpr std::array<unsigned char, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const bool is_ipv4 = std::memcmp(ipv6.data(), kMapped.data(), kMapped.size()) == 0;
    return is_ipv4 ? XXH3_64bits(ipv6.data(), ipv6.size()) : XXH3_64bits(ipv6.data(), kNetwork);
  }
  return XXH3_64bits(address.data(), address.size());
}

std::uint64_t HeavyClientOfKey(std::string_view key_name) {
  constexpr std::uint64_t kNoAddress = 1;
  return XXH3_64bits_withSeed(key_name.data(), key_name.size(), kNoAddress);
}

HeavyWork::HeavyWork(const Scoreboard& board, const Options& options)
    : board_(board), options_(options) {
  if (options_.processors <= 0) options_.processors = UsableProcessors();
}

HeavyLimits HeavyWork::Limits() const {
  const int workers =
      static_cast<int>(board_.pool().roles[kWorkerRole].wanted.load(std::memory_order_relaxed));
  return {.seats = std::max(1, std::max(workers, 1) * options_.threads * 3 / 4),
          .processors = options_.processors,
          .bytes = options_.memory_bytes / 2};
}

std::vector<HeavyEntry> HeavyWork::Others(const ThreadSlot& own) const {
  std::vector<HeavyEntry> others;
  for (int slot = 0; slot < board_.all_slots(); ++slot) {
    for (const ThreadSlot& thread_slot : board_.used_thread_slots(slot)) {
      if (&thread_slot == &own) continue;
      const HeavyClaim& claim = thread_slot.heavy;
      const HeavyEntry entry{.state = claim.state.load(),
                             .client = claim.client.load(),
                             .ticket = claim.ticket.load(),
                             .bytes = claim.bytes.load(),
                             .body_client = claim.body_client.load(),
                             .body_bytes = claim.body_bytes.load()};
      if (entry.state != State::kNone || entry.body_bytes > 0) others.push_back(entry);
    }
  }
  return others;
}

absl::Status HeavyWork::ClaimBody(ThreadSlot& thread_slot, std::uint64_t client,
                                  std::uint64_t bytes) const {
  if (bytes <= kSmallBody) return absl::OkStatus();
  // Published before the others are looked at: of two at the same moment at least one sees the
  // other.
  thread_slot.heavy.body_client = client;
  thread_slot.heavy.body_bytes = bytes;
  const HeavyEntry own{.body_client = client, .body_bytes = bytes};
  if (HasBodyRoom(Others(thread_slot), own, Limits())) return absl::OkStatus();
  thread_slot.heavy.body_bytes = 0;
  return absl::ResourceExhaustedError(
      "too many requests with large bodies are in work now; try again");
}

absl::Status HeavyWork::Begin(ThreadSlot& thread_slot, std::uint64_t client, std::uint64_t bytes,
                              const Patience& patience) const {
  thread_slot.heavy.client = client;
  thread_slot.heavy.bytes = bytes;
  absl::Status status = Await(thread_slot, State::kNone, State::kWaits, State::kWorks, patience);
  if (!status.ok()) thread_slot.heavy.bytes = 0;
  return status;
}

absl::Status HeavyWork::Resume(ThreadSlot& thread_slot, std::uint64_t bytes,
                               const Patience& patience) const {
  RETURN_IF_ERROR(Await(thread_slot, State::kKeeps, State::kResumes, State::kWorks, patience));
  thread_slot.heavy.bytes = bytes;
  return absl::OkStatus();
}

absl::Status HeavyWork::Await(ThreadSlot& thread_slot, State before, State waits, State has,
                              const Patience& patience) const {
  HeavyClaim& own = thread_slot.heavy;
  Pool& pool = board_.pool();
  const auto entry = [&] {
    return HeavyEntry{
        .state = waits, .client = own.client, .ticket = own.ticket, .bytes = own.bytes};
  };
  own.ticket = pool.heavy_tickets.fetch_add(1) + 1;
  // What is published is looked at by the others before they decide, and theirs by us: of two that
  // decide at the same moment at least one sees the other.
  own.state = waits;
  const HeavyLimits limits = Limits();
  if (before == State::kNone && !HasSeat(Others(thread_slot), entry(), limits)) {
    Set(thread_slot, before);
    return absl::ResourceExhaustedError(
        "too many requests with large inputs are in work now; try again");
  }
  while (true) {
    const std::uint32_t seen = pool.heavy_releases.load();
    if (HasTurn(Others(thread_slot), entry(), limits)) {
      own.state = has;
      if (Fits(Others(thread_slot), entry(), limits)) {
        Wake();  // the next one was behind us, and may have its turn too
        return absl::OkStatus();
      }
      own.state = waits;
      std::this_thread::sleep_for(kStepBack);
    } else {
      const auto left = patience.deadline.Left(Clock::now());
      SleepUntilWoken(pool.heavy_releases, seen,
                      std::min<std::chrono::nanoseconds>(kLookAgain, left));
    }
    if (absl::Status status = patience.Check(); !status.ok()) {
      Set(thread_slot, before);
      if (absl::IsCancelled(status)) return status;
      return absl::ResourceExhaustedError(
          "requests with large inputs took longer than this one could wait; try again");
    }
  }
}

void HeavyWork::Keep(ThreadSlot& thread_slot, std::uint64_t bytes) const {
  thread_slot.heavy.bytes = std::min(bytes, thread_slot.heavy.bytes.load());
  Set(thread_slot, State::kKeeps);
}

void HeavyWork::End(ThreadSlot& thread_slot) const {
  thread_slot.heavy.bytes = 0;
  Set(thread_slot, State::kNone);
}

void HeavyWork::Leave(ThreadSlot& thread_slot) const {
  HeavyClaim& own = thread_slot.heavy;
  if (own.state == State::kNone && own.body_bytes == 0) return;
  own.body_bytes = 0;
  End(thread_slot);
}

// Whoever waits behind may have its turn now, also when this one has only waited.
void HeavyWork::Set(ThreadSlot& thread_slot, State state) const {
  thread_slot.heavy.state = state;
  Wake();
}

void HeavyWork::Wake() const {
  Pool& pool = board_.pool();
  pool.heavy_releases.fetch_add(1);
  syscall(SYS_futex, &pool.heavy_releases, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace inferpool
