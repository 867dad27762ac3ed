// The scoreboard: memory that the master maps before it forks and that every process reads.
//
// There is one slot per worker process and one thread slot per thread. Only its thread writes a
// thread slot. The worker writes its slot, and the master does when the worker is gone. Everything
// is a relaxed atomic or a seqlock; there are no locks and no pointers. Counters belong to the slot
// and continue under its next process, so totals never fall. The master clears gauges (state, pid,
// requests in work) when a process ends.
//
// It lives in a memfd of the master's. So `inferpool status` can read it from outside whatever the
// processes are doing, and a master that replaces its program finds it again.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "shared/access/rate_limiter.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/fixed_text.h"
#include "shared/base/http_status.h"
#include "shared/base/seqlock.h"
#include "shared/base/status.h"
#include "shared/board/heavy_work.h"
#include "shared/board/metrics.h"
#include "shared/board/quarantine.h"
#include "shared/board/route_counts.h"
#include "shared/board/rule_counts.h"
#include "shared/board/stream_counts.h"

namespace inferpool {

enum class ProcessState : std::uint32_t { kEmpty, kStarting, kReady, kDraining };
inline constexpr std::array<std::string_view, 4> kProcessStateNames = {"empty", "starting", "ready",
                                                                       "draining"};

// Why a process cannot serve yet.
using NotReadyText = FixedText<232>;

// One process of the pool. The master writes it, except that the process itself sets `state` to say
// that it is ready or drains, and `not_ready`.
struct ProcessRow {
  std::atomic<pid_t> pid;  // 0: empty
  std::atomic<ProcessState> state;
  std::atomic<std::uint32_t> generation;
  std::atomic<std::int64_t> started_ns;  // steady clock
  std::atomic<std::uint32_t> clients;    // that are connected for long; the process counts them
  Seqlock<NotReadyText> not_ready;       // for people; empty: the process knows of nothing
};

struct Histogram {
  std::array<std::atomic<std::uint64_t>, kBuckets> buckets;  // not cumulative
  std::atomic<std::uint64_t> sum_us;
};

struct HistogramTotal {
  std::array<std::uint64_t, kBuckets> buckets{};
  std::uint64_t sum_us = 0;
};

// The work of a thread.
struct Task {
  RequestName request_id;
  ModelName model;
  Digest digest;  // of the picture
};

inline constexpr std::size_t kMaxFrames = 48;
inline constexpr std::size_t kMaxHelpers = 7;

// The return addresses of a thread's calls, innermost first, as a signal handler left them.
struct Backtrace {
  std::array<std::atomic<std::uint64_t>, kMaxFrames> addresses;
  std::atomic<std::uint32_t> count;
};

// One thread's counts and its present work. Only that thread calls the functions that write.
struct alignas(64) ThreadSlot {
  std::atomic<pid_t> thread;  // 0: none
  // Threads that help with parts of the request in work; 0: none. Each enters and removes itself.
  std::array<std::atomic<pid_t>, kMaxHelpers> helpers;
  std::atomic<std::int64_t> busy_since_ns;  // acceptance of the request in work; 0: idle
  std::atomic<std::int64_t> step_since_ns;  // of the latest step of that request's
  std::atomic<std::uint64_t> served;        // connections answered or given up
  std::array<std::atomic<std::uint64_t>, kHttpStatuses.size()> by_status;
  std::atomic<std::uint64_t> bytes_in;
  std::atomic<std::uint64_t> bytes_out;
  std::array<Histogram, kStages> stages;
  Seqlock<Task> task;  // of the request in work, or of the latest one
  HeavyClaim heavy;    // of the request in work
  Backtrace backtrace;

  void Begin(TimePoint accepted);
  // Says that the work has reached its next step; a thread that stays at one step for too long is
  // stuck. Helping threads call it too.
  void NewStep(TimePoint now);
  void End();
  void CountStatus(int status);
  void CountBytes(std::uint64_t in, std::uint64_t out);
  void CountStage(Stage stage, std::chrono::microseconds duration);
};

// Counted by all threads of a worker.
struct ModelCallCounts {
  std::array<std::atomic<std::uint64_t>, kModelCalls> events;

  void Count(ModelCall what) {
    events[static_cast<std::size_t>(what)].fetch_add(1, std::memory_order_relaxed);
  }
};

// Lookups in the cache of answers, counted by all threads of a worker.
struct CacheCounts {
  std::atomic<std::uint64_t> hits;
  std::atomic<std::uint64_t> misses;
};

// What a worker process and its master tell each other.
struct alignas(64) WorkerSlot {
  ProcessRow process;
  std::atomic<std::uint32_t> threads_used;  // by the process with the most threads so far
  std::atomic<std::uint64_t> quota;      // requests after which it asks for a successor; 0: never
  std::atomic<std::uint32_t> request_s;  // timeouts.request_s of the process's configuration
  std::atomic<std::uint32_t> due;        // 1: it asks
  // Set by a crashing worker.
  std::atomic<std::uint32_t> crash_signal;   // 0: none
  std::atomic<std::int32_t> crash_thread;    // -1: not a thread slot's thread
  std::atomic<std::uint64_t> crash_address;  // that was accessed, for SIGSEGV and SIGBUS
  Backtrace backtrace;                       // of a thread that has no thread slot
  // The slot's counts when this worker began; the difference to now is the worker's own.
  std::atomic<std::uint64_t> served_before;
  Histogram total_before;
  ModelCallCounts model_calls;
  CacheCounts cache;
  // DigestOf the routes that the worker was configured with, and the number of the change to them
  // that it goes by; 0: none.
  std::atomic<std::uint64_t> routes_configured;
  std::atomic<std::int64_t> routes_change;
  StreamProcess streams;  // of a process that answers cameras' frames
  Histogram answer_age;   // likewise: from a frame's capture until its answer was stored
};

// The outcome of the latest reload, scale or change of program.
struct ReloadRecord {
  std::int64_t at_s = 0;  // since the epoch; 0: there was none
  std::uint32_t generation = 0;
  enum Outcome : std::uint32_t { kNone, kRolling, kDone, kRefused, kGivenUp } outcome = kNone;
  FixedText<48> what;
  FixedText<400> detail;
};
inline constexpr std::array<std::string_view, 5> kReloadOutcomes = {"none", "rolling", "done",
                                                                    "refused", "given up"};

using RoleName = FixedText<24>;

struct CrashRecord {
  std::int64_t at_s = 0;   // since the epoch; 0: empty
  RoleName role = {};      // the kind of process, such as "worker"
  std::int32_t place = 0;  // among those of its role; of a worker the slot
  std::int32_t pid = 0;
  std::int32_t signal = 0;       // 0: it exited
  std::int32_t exit_status = 0;  // when it exited
  std::uint32_t stuck = 0;       // 1: killed because a request was over its time
  Task task;                     // of the thread that did it, if known
};

inline constexpr std::size_t kCrashRecords = 8;

// The kinds of processes of a pool are numbered. The workers are the first, and have the first
// slots. Others that work on pictures have slots as well, which lie behind the workers'; the
// processes of the rest have a row each of Pool::processes.
inline constexpr int kWorkerRole = 0;
inline constexpr std::size_t kMaxRoles = 8;
inline constexpr std::size_t kProcessRows = 128;
inline constexpr int kOtherSlots = 40;

// One kind of process: how many there shall be, and what became of them. Written by the master.
struct RoleRow {
  Seqlock<RoleName> name;  // empty: there is no such role
  std::atomic<std::uint32_t> first_row;
  std::atomic<std::uint32_t> rows;
  std::atomic<std::uint32_t> wanted;
  std::atomic<std::uint32_t> backing_off;  // that wait to be started again after a crash
  std::atomic<std::uint64_t> starts;
  std::atomic<std::uint64_t> crashes;  // ends that nobody had planned
  std::atomic<std::uint64_t> planned_ends;
};

// The slots of a role's processes, if they have some.
struct RoleSlots {
  std::atomic<std::uint32_t> first;  // among those behind the workers'
  std::atomic<std::uint32_t> count;
};

// Data of the pool as a whole. The master writes it, except for the quarantine, the keys, the
// routes, the shards of streams, the rules and heavy work.
struct alignas(64) Pool {
  std::atomic<pid_t> master;
  std::atomic<std::int64_t> started_ns;  // of the pool, steady clock
  std::atomic<std::uint32_t> generation;
  std::atomic<std::uint32_t> stopping;  // 1: workers that leave empty the backlog first
  std::atomic<std::uint64_t> listener_inode;
  std::atomic<std::uint64_t> quarantine_ttl_ns;  // 0: nothing is quarantined
  std::array<RoleRow, kMaxRoles> roles;
  std::array<ProcessRow, kProcessRows> processes;  // role by role
  Seqlock<ReloadRecord> reload;
  std::atomic<std::uint64_t> crash_records;  // written so far; the next one's place
  std::array<Seqlock<CrashRecord>, kCrashRecords> crashes;
  Quarantine quarantine;
  RateLimiter keys;
  RouteTable routes;
  std::atomic<std::uint64_t> routes_said;       // what was logged of them last (live_routes.cc)
  std::atomic<std::uint64_t> heavy_tickets;     // given so far (heavy_work.h)
  std::atomic<std::uint32_t> heavy_releases;    // of heavy work; waiters sleep on it
  std::array<RoleSlots, kMaxRoles> role_slots;  // written by the master
  std::array<StreamShard, kMaxStreamShards> stream_shards;
  RuleTable rules;
  std::atomic<std::uint32_t> named_cameras;  // that metrics may name (streams.metrics_cameras)
  LiveCounts live;
};

// A kind of process at one moment.
struct RoleTotals {
  RoleName name;  // empty: there is no such role
  std::array<std::uint64_t, kProcessStateNames.size()> by_state{};
  std::uint64_t wanted = 0;
  std::uint64_t backing_off = 0;
  std::uint64_t starts = 0;
  std::uint64_t crashes = 0;
  std::uint64_t planned_ends = 0;
  std::uint64_t clients = 0;
};

// The totals over all slots and thread slots at one moment.
struct Totals {
  std::array<std::uint64_t, kHttpStatuses.size()> by_status{};
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::array<HistogramTotal, kStages> stages{};
  std::array<std::uint64_t, kModelCalls> model_calls{};
  std::uint64_t cache_hits = 0;
  std::uint64_t cache_misses = 0;
  std::uint64_t in_work = 0;
  std::uint64_t heavy_waiting = 0;  // requests that wait for heavy work
  std::uint64_t heavy_working = 0;
  std::uint64_t heavy_bytes = 0;  // that bodies and heavy steps have claimed
  std::array<RoleTotals, kMaxRoles> roles{};
  std::uint64_t quarantined = 0;
  std::vector<KeyRequests> keys;    // by name
  std::vector<RouteTotals> routes;  // by their labels
  std::vector<RuleTotals> rules;    // by name
  // Of cameras' streams: the shards that a process of this pool has or had, and all processes.
  std::vector<StreamShardTotals> stream_shards;
  HistogramTotal answer_age{};
  std::array<TripSizesTotal, kStreamWays> stream_trips{};
  std::array<std::uint64_t, kModelCalls> stream_model_calls{};
  std::uint64_t stream_processes_up = 0;  // that have a connection to Redis
  std::uint64_t live_events = 0;
  std::uint64_t live_snapshots = 0;
  std::uint64_t live_too_slow = 0;

  const RoleTotals& workers() const { return roles[kWorkerRole]; }
  RoleTotals& workers() { return roles[kWorkerRole]; }
};

HistogramTotal Read(const Histogram& histogram);

// Maps the memory, which children forked afterwards share. It goes when the last process does.
class Scoreboard {
 public:
  // Makes one with room for `slots` workers of up to `thread_slots` threads, and for kOtherSlots
  // other processes with as many. Unused memory costs nothing.
  static absl::StatusOr<Scoreboard> Create(int slots, int thread_slots);

  enum class Access { kRead, kWrite };
  // Opens one that another process has made. FAILED_PRECONDITION: its layout is another one.
  static absl::StatusOr<Scoreboard> Open(FileDescriptor file, Access access);

  ~Scoreboard();
  Scoreboard(Scoreboard&& other) noexcept;
  Scoreboard& operator=(Scoreboard&&) = delete;

  int file() const { return file_.get(); }
  int slots() const { return all_slots() - kOtherSlots; }  // the workers'
  int all_slots() const { return static_cast<int>(slots_.size()); }
  // The slot of a process; nullopt for one that has a row only.
  std::optional<int> SlotOf(int role, int place) const;
  int RoleOfSlot(int slot) const;
  int threads_per_slot() const { return threads_per_slot_; }
  Pool& pool() const { return *pool_; }
  WorkerSlot& slot(int index) const { return slots_[static_cast<std::size_t>(index)]; }
  std::span<ThreadSlot> thread_slots(int slot) const;
  std::span<ThreadSlot> used_thread_slots(int slot) const;

  // The requests that the slot has served and its histogram of total times, over all its processes.
  std::uint64_t Served(int slot) const;
  HistogramTotal Times(int slot) const;

  // Names the kinds of processes that there are, the workers first, and gives each of the others
  // its rows. What is already there stays when it is the same. For the master, before it starts the
  // first of them; aborts when they have more rows than there are.
  struct RoleRoom {
    std::string_view name;
    int rows;  // 0 for the workers, and for a role whose processes have slots
    int slots = 0;
  };
  void SetRoles(std::span<const RoleRoom> roles) const;

  // The row of a process, which may be in its slot. And those of all of a role that has no slots.
  ProcessRow& process(int role, int place) const;
  std::span<ProcessRow> processes(int role) const;
  // The processes of a role that there may be: its rows or slots.
  int Places(int role) const;

  // A process's start, just before its fork, and its end. For the master. A new process of a slot
  // has its own pair: Occupy and Vacate.
  void Enter(int role, int place, std::uint32_t generation, TimePoint now) const;
  void Leave(int role, int place) const;
  void Occupy(int slot, std::uint32_t generation, int threads, TimePoint now) const;
  void Vacate(int slot) const;
  void CountEnd(int role, bool crashed) const;
  void Record(const CrashRecord& crash) const;

  // The latest crashes, newest first.
  std::vector<CrashRecord> Crashes() const;

  // Sums everything up. Any process may call it; it takes O(slots) and never waits.
  Totals Sum(TimePoint now) const;

  // The cameras with the most frames of the shards that this pool has, the first of them first: as
  // many as metrics may name. It takes longer than Sum.
  std::vector<StreamCamera> BusiestCameras() const;

 private:
  struct Head;

  Scoreboard(FileDescriptor file, void* memory, std::size_t bytes);

  RoleTotals SumRole(int role) const;

  FileDescriptor file_;
  std::size_t bytes_;
  int threads_per_slot_;
  Head* head_;
  Pool* pool_;
  std::span<WorkerSlot> slots_;
  std::span<ThreadSlot> thread_slots_;
};

}  // namespace inferpool
