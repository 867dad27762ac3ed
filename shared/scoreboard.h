// The scoreboard: memory that the master maps before it forks and that every process reads.
//
// One slot a worker, one lane a thread of it. A lane is written by its thread alone and a slot's
// head by its worker and, when that is gone, by the master; everything is a relaxed atomic, there
// are no locks and no pointers. Counters belong to the slot and go on under its next tenant, so
// totals never fall; gauges (state, pid, in-work marks) are cleared by the master at a tenant's
// end.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

#include "shared/metrics.h"

namespace inferpool {

enum class WorkerState : std::uint32_t { kEmpty, kStarting, kReady, kDraining };
inline constexpr std::array<std::string_view, 4> kWorkerStateNames = {"empty", "starting", "ready",
                                                                      "draining"};

struct Histogram {
  std::array<std::atomic<std::uint64_t>, kBuckets> buckets;  // not cumulative
  std::atomic<std::uint64_t> sum_us;
};

// One thread's counts. Only that thread calls the functions that write.
struct alignas(64) Lane {
  std::array<std::atomic<std::uint64_t>, kCountedStatuses.size()> by_status;
  std::atomic<std::uint64_t> bytes_in;
  std::atomic<std::uint64_t> bytes_out;
  std::array<Histogram, kStages> stages;
  std::atomic<std::uint32_t> busy;  // 1 while a request is in work

  void CountStatus(int status);
  void CountBytes(std::uint64_t in, std::uint64_t out);
  void CountStage(Stage stage, std::chrono::microseconds duration);
};

struct alignas(64) Slot {
  std::atomic<pid_t> pid;
  std::atomic<WorkerState> state;
};

// The totals over all slots and lanes at one moment.
struct Totals {
  struct HistogramTotal {
    std::array<std::uint64_t, kBuckets> buckets{};
    std::uint64_t sum_us = 0;
  };
  std::array<std::uint64_t, kCountedStatuses.size()> by_status{};
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::array<HistogramTotal, kStages> stages{};
  std::uint64_t in_work = 0;
  std::array<std::uint64_t, kWorkerStateNames.size()> workers_by_state{};
  std::uint64_t worker_starts = 0;
  std::uint64_t worker_crashes = 0;
  std::uint64_t worker_recycles = 0;
};

// Maps the memory; it is shared with the children forked afterwards and goes with the last of them.
class Scoreboard {
 public:
  Scoreboard(int workers, int threads);
  ~Scoreboard();
  Scoreboard(const Scoreboard&) = delete;
  Scoreboard& operator=(const Scoreboard&) = delete;

  int workers() const { return workers_; }
  Slot& slot(int worker) const { return slots_[static_cast<std::size_t>(worker)]; }
  std::span<Lane> lanes(int worker) const;

  // The master's counts: a worker was started; one has ended, by itself as planned or by a crash.
  void CountStart() const;
  void CountEnd(bool crashed) const;

  // Clears the gauges of a slot whose worker has ended. For the master.
  void Vacate(int worker) const;

  // Sums everything up; O(slots), never waits. For any process.
  Totals Sum() const;

 private:
  struct Head;

  int workers_;
  int threads_;
  std::size_t bytes_;
  Head* head_;
  std::span<Slot> slots_;
  std::span<Lane> lanes_;
};

}  // namespace inferpool
