#include "shared/board/scoreboard.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <new>
#include <numeric>
#include <system_error>
#include <tuple>
#include <utility>

#include "shared/base/check.h"

namespace inferpool {

// What a reader checks before it believes the rest. Its own layout never changes.
struct alignas(64) Scoreboard::Head {
  std::atomic<std::uint64_t> magic;
  std::atomic<std::uint64_t> layout;
  std::atomic<std::uint32_t> slots;
  std::atomic<std::uint32_t> threads_per_slot;
};

namespace {

constexpr std::uint64_t kMagic = 0x6c6f6f7072666e69;  // "infrpool" in memory
// Raise it when a member's meaning changes without its size or place.
constexpr std::uint64_t kLayoutVersion = 4;

// Tells layouts apart by what differs between builds of different versions.
std::uint64_t LayoutHash() {
  constexpr std::array kParts = {kLayoutVersion,
                                 std::uint64_t{sizeof(Pool)},
                                 std::uint64_t{sizeof(WorkerSlot)},
                                 std::uint64_t{sizeof(ThreadSlot)},
                                 std::uint64_t{sizeof(Task)},
                                 std::uint64_t{sizeof(Quarantine)},
                                 std::uint64_t{sizeof(RateLimiter)},
                                 std::uint64_t{sizeof(RouteTable)},
                                 std::uint64_t{sizeof(ReloadRecord)},
                                 std::uint64_t{sizeof(CrashRecord)},
                                 std::uint64_t{offsetof(ThreadSlot, stages)},
                                 std::uint64_t{offsetof(ThreadSlot, task)},
                                 std::uint64_t{offsetof(WorkerSlot, total_before)},
                                 std::uint64_t{offsetof(Pool, reload)},
                                 std::uint64_t{kBuckets},
                                 std::uint64_t{kStages},
                                 std::uint64_t{kModelCalls},
                                 std::uint64_t{kMaxRoles},
                                 std::uint64_t{kProcessRows},
                                 std::uint64_t{kOtherSlots},
                                 std::uint64_t{kStreamEvents},
                                 std::uint64_t{kTripBuckets},
                                 std::uint64_t{sizeof(StreamCamera)},
                                 std::uint64_t{kLedgerEntries},
                                 std::uint64_t{kHttpStatuses.size()}};
  return XXH3_64bits(kParts.data(), sizeof(kParts));
}

// A single writer needs no atomic addition: a load and a store leave the thread slot's cache line
// alone.
void Add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) {
  counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

std::uint64_t Get(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

void Add(HistogramTotal& total, const Histogram& histogram) {
  for (std::size_t i = 0; i < kBuckets; ++i) total.buckets[i] += Get(histogram.buckets[i]);
  total.sum_us += Get(histogram.sum_us);
}

void AddHeavy(const HeavyClaim& claim, Totals& totals) {
  const HeavyClaim::State state = claim.state.load(std::memory_order_relaxed);
  const bool waits = state == HeavyClaim::kWaits;
  if (waits || state == HeavyClaim::kResumes) ++totals.heavy_waiting;
  if (state == HeavyClaim::kWorks) ++totals.heavy_working;
  totals.heavy_bytes += Get(claim.body_bytes) + (waits ? 0 : Get(claim.bytes));
}

void AddStreams(const Pool& pool, Totals& totals) {
  for (std::size_t i = 0; i < kMaxStreamShards; ++i) {
    const StreamShard& shard = pool.stream_shards[i];
    if (Get(shard.events[static_cast<std::size_t>(StreamEvent::kLeaseChange)]) == 0) continue;
    StreamShardTotals& total = totals.stream_shards.emplace_back();
    total.shard = static_cast<int>(i);
    for (std::size_t e = 0; e < kStreamEvents; ++e) total.events[e] = Get(shard.events[e]);
    for (std::size_t e = 0; e < kLedgerEntries; ++e) total.ledger[e] = Get(shard.ledger[e]);
    total.waiting = Get(shard.waiting);
    total.lag_ms = Get(shard.lag_ms);
    total.results_lost = Get(shard.results_lost);
    total.cameras = shard.cameras.load(std::memory_order_relaxed);
    total.owned = shard.owner.load(std::memory_order_relaxed) != 0;
  }
}

void Count(const ProcessRow& row, RoleTotals& totals) {
  const ProcessState state = row.state.load(std::memory_order_relaxed);
  totals.clients += row.clients.load(std::memory_order_relaxed);
  if (state != ProcessState::kEmpty) ++totals.by_state[static_cast<std::size_t>(state)];
}

void Empty(ProcessRow& row) {
  row.pid = 0;
  row.state = ProcessState::kEmpty;
  row.generation = 0;
  row.started_ns = 0;
  row.clients = 0;
}

absl::Status Failed(const char* what) {
  return absl::InternalError(
      fmt::format("scoreboard: {}: {}", what, std::generic_category().message(errno)));
}

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<ProcessState>::is_always_lock_free);

}  // namespace

void StreamProcess::CountTrip(StreamWay way, std::uint64_t frames) {
  TripSizes& sizes = trips[static_cast<std::size_t>(way)];
  const auto bound = std::ranges::lower_bound(kTripBounds, frames);
  Add(sizes.buckets[static_cast<std::size_t>(bound - kTripBounds.begin())], 1);
  Add(sizes.frames, frames);
}

void ThreadSlot::Begin(TimePoint accepted) {
  task.Store({});  // a crash from here on is not the latest request's doing
  NewStep(accepted);
  busy_since_ns.store(ToNs(accepted), std::memory_order_release);  // the step is seen before it
}

void ThreadSlot::NewStep(TimePoint now) {
  step_since_ns.store(ToNs(now), std::memory_order_relaxed);
}

void ThreadSlot::End() {
  Add(served, 1);
  busy_since_ns.store(0, std::memory_order_relaxed);
}

void ThreadSlot::CountStatus(int status) {
  Add(by_status[HttpStatusIndex(status)], 1);
}

void ThreadSlot::CountBytes(std::uint64_t in, std::uint64_t out) {
  Add(bytes_in, in);
  Add(bytes_out, out);
}

void ThreadSlot::CountStage(Stage stage, std::chrono::microseconds duration) {
  Histogram& histogram = stages[static_cast<std::size_t>(stage)];
  const long us = std::max(0L, static_cast<long>(duration.count()));
  const auto bound = std::ranges::lower_bound(kBucketBoundsUs, us);
  Add(histogram.buckets[static_cast<std::size_t>(bound - kBucketBoundsUs.begin())], 1);
  Add(histogram.sum_us, static_cast<std::uint64_t>(us));
}

HistogramTotal Read(const Histogram& histogram) {
  HistogramTotal total;
  Add(total, histogram);
  return total;
}

absl::StatusOr<Scoreboard> Scoreboard::Create(int slots, int thread_slots) {
  const auto slot_count = static_cast<std::size_t>(slots) + kOtherSlots;
  const std::size_t thread_slot_count = slot_count * static_cast<std::size_t>(thread_slots);
  const std::size_t bytes = sizeof(Head) + sizeof(Pool) + slot_count * sizeof(WorkerSlot) +
                            thread_slot_count * sizeof(ThreadSlot);
  FileDescriptor file(memfd_create("inferpool-scoreboard", MFD_CLOEXEC));
  if (!file) return Failed("memfd_create");
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return Failed("ftruncate");
  {
    void* memory = mmap(nullptr, sizeof(Head), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (memory == MAP_FAILED) return Failed("mmap");
    auto* head = new (memory) Head{};
    head->magic = kMagic;
    head->layout = LayoutHash();
    head->slots = static_cast<std::uint32_t>(slot_count);
    head->threads_per_slot = static_cast<std::uint32_t>(thread_slots);
    munmap(memory, sizeof(Head));
  }
  const auto key = RandomDigestKey();
  if (!key) return Failed("getrandom");
  absl::StatusOr<Scoreboard> board = Open(std::move(file), Access::kWrite);
  if (board.ok()) board->pool().quarantine.SetKey(*key);
  return board;
}

absl::StatusOr<Scoreboard> Scoreboard::Open(FileDescriptor file, Access access) {
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return Failed("fstat");
  const auto bytes = static_cast<std::size_t>(info.st_size);
  if (bytes < sizeof(Head)) return absl::FailedPreconditionError("this is no scoreboard");
  const int protection = access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  void* memory = mmap(nullptr, bytes, protection, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return Failed("mmap");
  const auto* head = static_cast<const Head*>(memory);
  const std::size_t expected =
      sizeof(Head) + sizeof(Pool) +
      head->slots * (sizeof(WorkerSlot) + head->threads_per_slot * sizeof(ThreadSlot));
  if (head->magic != kMagic || head->layout != LayoutHash() || bytes != expected) {
    munmap(memory, bytes);
    return absl::FailedPreconditionError("the scoreboard is of another version of inferpool");
  }
  return Scoreboard(std::move(file), memory, bytes);
}

// The memory starts as zeros, and zero is every member's start, so nothing is constructed: that
// would touch, and so take, memory that may never be used.
Scoreboard::Scoreboard(FileDescriptor file, void* memory, std::size_t bytes)
    : file_(std::move(file)), bytes_(bytes), head_(static_cast<Head*>(memory)) {
  auto* next = static_cast<std::byte*>(memory) + sizeof(Head);
  pool_ = std::launder(reinterpret_cast<Pool*>(next));
  next += sizeof(Pool);
  slots_ = {std::launder(reinterpret_cast<WorkerSlot*>(next)), head_->slots.load()};
  next += slots_.size_bytes();
  threads_per_slot_ = static_cast<int>(head_->threads_per_slot.load());
  thread_slots_ = {std::launder(reinterpret_cast<ThreadSlot*>(next)),
                   slots_.size() * head_->threads_per_slot.load()};
}

Scoreboard::Scoreboard(Scoreboard&& other) noexcept
    : file_(std::move(other.file_)),
      bytes_(other.bytes_),
      threads_per_slot_(other.threads_per_slot_),
      head_(std::exchange(other.head_, nullptr)),
      pool_(other.pool_),
      slots_(other.slots_),
      thread_slots_(other.thread_slots_) {}

Scoreboard::~Scoreboard() {
  if (head_ != nullptr) munmap(head_, bytes_);
}

std::span<ThreadSlot> Scoreboard::thread_slots(int slot) const {
  const auto thread_slots = static_cast<std::size_t>(threads_per_slot_);
  return thread_slots_.subspan(static_cast<std::size_t>(slot) * thread_slots, thread_slots);
}

std::span<ThreadSlot> Scoreboard::used_thread_slots(int slot) const {
  const std::span<ThreadSlot> all = thread_slots(slot);
  return all.first(std::min<std::size_t>(this->slot(slot).threads_used, all.size()));
}

std::uint64_t Scoreboard::Served(int slot) const {
  const std::span<ThreadSlot> all = used_thread_slots(slot);
  return std::accumulate(all.begin(), all.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const ThreadSlot& thread_slot) {
                           return sum + Get(thread_slot.served);
                         });
}

HistogramTotal Scoreboard::Times(int slot) const {
  HistogramTotal total;
  for (const ThreadSlot& thread_slot : used_thread_slots(slot)) {
    Add(total, thread_slot.stages[static_cast<std::size_t>(Stage::kTotal)]);
  }
  return total;
}

void Scoreboard::SetRoles(std::span<const RoleRoom> roles) const {
  CHECK(roles.size() <= kMaxRoles);
  std::uint32_t next = 0;
  std::uint32_t next_slot = 0;
  for (std::size_t i = 0; i < kMaxRoles; ++i) {
    const RoleRoom room = i < roles.size() ? roles[i] : RoleRoom{};
    const auto rows = static_cast<std::uint32_t>(room.rows);
    const auto slots = static_cast<std::uint32_t>(room.slots);
    CHECK(next + rows <= kProcessRows);
    CHECK(next_slot + slots <= static_cast<std::uint32_t>(kOtherSlots));
    RoleRow& role = pool_->roles[i];
    const RoleName name(room.name);
    if (role.name.Load() != name) {
      role.name.Store(name);
      for (auto* count : {&role.wanted, &role.backing_off}) *count = 0;
      for (auto* count : {&role.starts, &role.crashes, &role.planned_ends}) *count = 0;
      role.rows = 0;
    }
    if (role.first_row != next || role.rows != rows) {
      role.first_row = next;
      role.rows = rows;
      for (ProcessRow& row : std::span(pool_->processes).subspan(next, rows)) Empty(row);
    }
    next += rows;
    pool_->role_slots[i].first = next_slot;
    pool_->role_slots[i].count = slots;
    next_slot += slots;
  }
}

std::optional<int> Scoreboard::SlotOf(int role, int place) const {
  if (role == kWorkerRole) return place;
  const RoleSlots& own = pool_->role_slots[static_cast<std::size_t>(role)];
  if (own.count == 0) return std::nullopt;
  return slots() + static_cast<int>(own.first.load()) + place;
}

int Scoreboard::RoleOfSlot(int slot) const {
  for (int role = 1; role < static_cast<int>(kMaxRoles); ++role) {
    const auto first = SlotOf(role, 0);
    if (first && slot >= *first && slot < *first + Places(role)) return role;
  }
  return kWorkerRole;
}

int Scoreboard::Places(int role) const {
  if (role == kWorkerRole) return slots();
  const auto at = static_cast<std::size_t>(role);
  const std::uint32_t own = pool_->role_slots[at].count;
  return static_cast<int>(own > 0 ? own : pool_->roles[at].rows.load());
}

ProcessRow& Scoreboard::process(int role, int place) const {
  if (const auto own = SlotOf(role, place)) return slot(*own).process;
  return processes(role)[static_cast<std::size_t>(place)];
}

std::span<ProcessRow> Scoreboard::processes(int role) const {
  const RoleRow& row = pool_->roles[static_cast<std::size_t>(role)];
  const std::span<ProcessRow> all(pool_->processes);
  const auto from_first = all.subspan(std::min<std::size_t>(row.first_row, all.size()));
  return from_first.first(std::min<std::size_t>(row.rows, from_first.size()));
}

void Scoreboard::Enter(int role, int place, std::uint32_t generation, TimePoint now) const {
  ProcessRow& row = process(role, place);
  row.generation = generation;
  row.started_ns = ToNs(now);
  row.not_ready.Store({});
  row.state = ProcessState::kStarting;
  Add(pool_->roles[static_cast<std::size_t>(role)].starts, 1);
}

void Scoreboard::Leave(int role, int place) const {
  ProcessRow& row = process(role, place);
  row.pid = 0;
  row.state = ProcessState::kEmpty;
}

void Scoreboard::Occupy(int index, std::uint32_t generation, int threads, TimePoint now) const {
  WorkerSlot& worker_slot = slot(index);
  worker_slot.served_before = Served(index);
  const HistogramTotal times = Times(index);
  for (std::size_t i = 0; i < kBuckets; ++i) worker_slot.total_before.buckets[i] = times.buckets[i];
  worker_slot.total_before.sum_us = times.sum_us;
  worker_slot.threads_used =
      std::max(worker_slot.threads_used.load(), static_cast<std::uint32_t>(threads));
  const int role = RoleOfSlot(index);
  Enter(role, index - *SlotOf(role, 0), generation, now);
}

void Scoreboard::Vacate(int index) const {
  WorkerSlot& worker_slot = slot(index);
  const int role = RoleOfSlot(index);
  Leave(role, index - *SlotOf(role, 0));
  worker_slot.due = 0;
  worker_slot.streams.redis_is_up = 0;
  worker_slot.crash_signal = 0;
  worker_slot.backtrace.count = 0;
  for (ThreadSlot& thread_slot : used_thread_slots(index)) {
    thread_slot.busy_since_ns = 0;
    thread_slot.thread = 0;
    for (std::atomic<pid_t>& helper : thread_slot.helpers) helper = 0;
    thread_slot.backtrace.count = 0;
    thread_slot.heavy.state = HeavyClaim::kNone;
    thread_slot.heavy.bytes = 0;
    thread_slot.heavy.body_bytes = 0;
  }
}

void Scoreboard::CountEnd(int role, bool crashed) const {
  RoleRow& row = pool_->roles[static_cast<std::size_t>(role)];
  Add(crashed ? row.crashes : row.planned_ends, 1);
}

void Scoreboard::Record(const CrashRecord& crash) const {
  pool_->crashes[Get(pool_->crash_records) % kCrashRecords].Store(crash);
  Add(pool_->crash_records, 1);
}

std::vector<CrashRecord> Scoreboard::Crashes() const {
  std::vector<CrashRecord> crashes;
  const std::uint64_t count = Get(pool_->crash_records);
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(count, kCrashRecords); ++i) {
    const auto crash = pool_->crashes[(count - 1 - i) % kCrashRecords].Load();
    if (crash) crashes.push_back(*crash);
  }
  return crashes;
}

RoleTotals Scoreboard::SumRole(int role) const {
  const RoleRow& row = pool_->roles[static_cast<std::size_t>(role)];
  RoleTotals totals;
  totals.name = row.name.Load().value_or(RoleName());
  totals.wanted = row.wanted.load(std::memory_order_relaxed);
  totals.backing_off = row.backing_off.load(std::memory_order_relaxed);
  totals.starts = Get(row.starts);
  totals.crashes = Get(row.crashes);
  totals.planned_ends = Get(row.planned_ends);
  if (role == kWorkerRole) return totals;  // Sum counts them
  for (int place = 0; place < Places(role); ++place) Count(process(role, place), totals);
  return totals;
}

Totals Scoreboard::Sum(TimePoint now) const {
  Totals totals;
  for (int role = 0; role < static_cast<int>(kMaxRoles); ++role) {
    totals.roles[static_cast<std::size_t>(role)] = SumRole(role);
  }
  totals.quarantined = pool_->quarantine.List(now).size();
  totals.keys = pool_->keys.List();
  std::ranges::sort(totals.keys, {}, [](const KeyRequests& key) { return key.name.view(); });
  totals.rules = pool_->rules.List();
  std::ranges::sort(totals.rules, {}, [](const RuleTotals& row) { return row.rule.view(); });
  totals.routes = pool_->routes.List();
  std::ranges::sort(totals.routes, {}, [](const RouteTotals& row) {
    const auto& [route, variant, model, version] = row.labels;
    return std::tuple(route.view(), variant.view(), model.view(), version.view());
  });
  AddStreams(*pool_, totals);
  totals.live_events = Get(pool_->live.events);
  totals.live_snapshots = Get(pool_->live.snapshots);
  totals.live_too_slow = Get(pool_->live.too_slow);
  for (int i = slots(); i < all_slots(); ++i) {
    const WorkerSlot& other = slot(i);
    Add(totals.answer_age, other.answer_age);
    for (std::size_t way = 0; way < kStreamWays; ++way) {
      const TripSizes& trips = other.streams.trips[way];
      TripSizesTotal& total = totals.stream_trips[way];
      for (std::size_t b = 0; b < kTripBuckets; ++b) total.buckets[b] += Get(trips.buckets[b]);
      total.frames += Get(trips.frames);
    }
    for (std::size_t call = 0; call < kModelCalls; ++call) {
      totals.stream_model_calls[call] += Get(other.model_calls.events[call]);
    }
    totals.stream_processes_up += other.streams.redis_is_up.load(std::memory_order_relaxed);
    for (const ThreadSlot& thread_slot : used_thread_slots(i)) {
      AddHeavy(thread_slot.heavy, totals);
    }
  }
  for (int i = 0; i < slots(); ++i) {
    const WorkerSlot& worker_slot = slot(i);
    Count(worker_slot.process, totals.roles[kWorkerRole]);
    for (std::size_t call = 0; call < kModelCalls; ++call) {
      totals.model_calls[call] += Get(worker_slot.model_calls.events[call]);
    }
    totals.cache_hits += Get(worker_slot.cache.hits);
    totals.cache_misses += Get(worker_slot.cache.misses);
    for (const ThreadSlot& thread_slot : used_thread_slots(i)) {
      for (std::size_t s = 0; s < thread_slot.by_status.size(); ++s) {
        totals.by_status[s] += Get(thread_slot.by_status[s]);
      }
      totals.bytes_in += Get(thread_slot.bytes_in);
      totals.bytes_out += Get(thread_slot.bytes_out);
      totals.in_work += thread_slot.busy_since_ns.load(std::memory_order_relaxed) == 0 ? 0 : 1;
      AddHeavy(thread_slot.heavy, totals);
      for (std::size_t stage = 0; stage < kStages; ++stage) {
        Add(totals.stages[stage], thread_slot.stages[stage]);
      }
    }
  }
  return totals;
}

std::vector<StreamCamera> Scoreboard::BusiestCameras() const {
  std::vector<StreamCamera> cameras;
  const std::size_t most = pool_->named_cameras.load(std::memory_order_relaxed);
  for (const StreamShard& shard : pool_->stream_shards) {
    if (shard.owner.load(std::memory_order_relaxed) == 0) continue;
    for (std::size_t row = 0; row < std::min(most, shard.busiest.size()); ++row) {
      const auto camera = shard.busiest[row].Load();
      if (!camera) continue;
      if (camera->name.view().empty()) break;  // those of a shard stand together
      cameras.push_back(*camera);
    }
  }
  std::ranges::sort(cameras, [](const StreamCamera& one, const StreamCamera& other) {
    return one.frames.front() != other.frames.front() ? one.frames.front() > other.frames.front()
                                                      : one.name.view() < other.name.view();
  });
  if (cameras.size() > most) cameras.resize(most);
  return cameras;
}

}  // namespace inferpool
