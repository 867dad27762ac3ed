// What a pool does at one moment, read from its scoreboard: for `inferpool status`.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/sidecar/listen_queue.h"
#include "shared/board/scoreboard.h"

namespace inferpool::ops {

struct WorkerStatus {
  int slot = 0;
  pid_t pid = 0;
  ProcessState state = ProcessState::kEmpty;
  std::uint32_t generation = 0;
  double age_s = 0;
  std::uint64_t served = 0;  // by this process
  int in_work = 0;
  double longest_s = 0;   // age of the oldest request in work
  double rate_per_s = 0;  // over the process' life, or since the status before
  HistogramTotal times;   // of this process
  long rss_mb = 0;
};

// A process that is not a worker.
struct ProcessStatus {
  int role = 0;  // as in Totals::roles
  int place = 0;
  pid_t pid = 0;
  ProcessState state = ProcessState::kEmpty;
  std::uint32_t generation = 0;
  double age_s = 0;
  long rss_mb = 0;
};

struct PoolStatus {
  pid_t master = 0;
  double up_s = 0;
  std::uint32_t generation = 0;
  Totals totals;
  std::optional<ListenQueue> queue;
  std::vector<WorkerStatus> workers;
  std::vector<ProcessStatus> others;  // by role
  ReloadRecord reload;
  std::vector<CrashRecord> crashes;  // newest first
  std::vector<Quarantined> quarantine;
  TimePoint at{};
};

// Waits for nobody: the workers may all be busy and the master stopped.
PoolStatus ReadStatus(const Scoreboard& board, TimePoint now);

// Makes the rates of `later` those of the time since `earlier`.
void RatesSince(const PoolStatus& earlier, PoolStatus& later);

// The time in milliseconds below which that part (0.5, 0.99) of the requests stayed, by straight
// lines within the buckets; none when there was no request.
std::optional<double> Quantile(const HistogramTotal& times, double part);

std::string ToTable(const PoolStatus& status);
std::string ToJson(const PoolStatus& status);

}  // namespace inferpool::ops
