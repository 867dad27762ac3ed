#include "ops/sidecar/pool_status.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <json/value.h>
#include <json/writer.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <span>

#include "shared/base/resident_memory.h"

namespace inferpool::ops {
namespace {

double SecondsSince(std::int64_t ns, TimePoint now) {
  return ns == 0 ? 0 : std::max(0.0, std::chrono::duration<double>(now - FromNs(ns)).count());
}

// What came since `before`. Both are read while others count, so never below zero.
HistogramTotal Since(HistogramTotal total, const HistogramTotal& before) {
  for (std::size_t i = 0; i < kBuckets; ++i) {
    total.buckets[i] -= std::min(total.buckets[i], before.buckets[i]);
  }
  total.sum_us -= std::min(total.sum_us, before.sum_us);
  return total;
}

WorkerStatus ReadWorker(const Scoreboard& board, int index, TimePoint now) {
  const WorkerSlot& slot = board.slot(index);
  WorkerStatus worker;
  worker.slot = index;
  worker.pid = slot.process.pid;
  worker.state = slot.process.state;
  worker.generation = slot.process.generation;
  worker.age_s = SecondsSince(slot.process.started_ns, now);
  const std::uint64_t served = board.Served(index);
  worker.served = served - std::min(served, slot.served_before.load());
  worker.rate_per_s = worker.age_s > 0 ? static_cast<double>(worker.served) / worker.age_s : 0;
  worker.times = Since(board.Times(index), Read(slot.total_before));
  for (const ThreadSlot& thread_slot : board.used_thread_slots(index)) {
    const std::int64_t since = thread_slot.busy_since_ns;
    if (since == 0) continue;
    ++worker.in_work;
    worker.longest_s = std::max(worker.longest_s, SecondsSince(since, now));
  }
  worker.rss_mb = ResidentMb(worker.pid);
  return worker;
}

std::vector<ProcessStatus> ReadOthers(const Scoreboard& board, TimePoint now) {
  std::vector<ProcessStatus> others;
  for (int role = 0; role < static_cast<int>(kMaxRoles); ++role) {
    if (role == kWorkerRole) continue;
    for (int place = 0; place < board.Places(role); ++place) {
      const ProcessRow& row = board.process(role, place);
      if (row.pid == 0) continue;
      others.push_back({.role = role,
                        .place = place,
                        .pid = row.pid,
                        .state = row.state,
                        .generation = row.generation,
                        .age_s = SecondsSince(row.started_ns, now),
                        .rss_mb = ResidentMb(row.pid)});
    }
  }
  return others;
}

std::string Duration(double seconds) {
  const auto whole = static_cast<long>(seconds);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3'600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  if (whole < 86'400) return fmt::format("{} h {} min", whole / 3'600, whole / 60 % 60);
  return fmt::format("{} d {} h", whole / 86'400, whole / 3'600 % 24);
}

std::string Time(std::int64_t at_s) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(static_cast<std::time_t>(at_s)));
}

std::string Milliseconds(const std::optional<double>& ms) {
  return ms ? fmt::format("{:.1f}", *ms) : "-";
}

std::string EndOf(const CrashRecord& crash) {
  if (crash.stuck != 0) return "stuck thread";
  if (crash.signal == 0) return fmt::format("exit {}", crash.exit_status);
  const char* name = sigabbrev_np(crash.signal);
  return name == nullptr ? fmt::format("signal {}", crash.signal) : fmt::format("SIG{}", name);
}

std::uint64_t CountStatuses(const Totals& totals, int from, int to) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kHttpStatuses.size(); ++i) {
    if (kHttpStatuses[i].code >= from && kHttpStatuses[i].code < to) sum += totals.by_status[i];
  }
  return sum;
}

const HistogramTotal& TotalTimes(const Totals& totals) {
  return totals.stages[static_cast<std::size_t>(Stage::kTotal)];
}

// "2 of 2 ready, 0 starting, 0 draining; 3 started, 1 replaced, 0 crashed"
std::string Words(const RoleTotals& role) {
  const auto in_state = [&](ProcessState state) {
    return role.by_state[static_cast<std::size_t>(state)];
  };
  std::string text = fmt::format(
      "{} of {} ready, {} starting, {} draining", in_state(ProcessState::kReady), role.wanted,
      in_state(ProcessState::kStarting), in_state(ProcessState::kDraining));
  if (role.backing_off > 0) text += fmt::format(", {} backing off", role.backing_off);
  return text + fmt::format("; {} started, {} replaced, {} crashed\n", role.starts,
                            role.planned_ends, role.crashes);
}

double RateOf(const PoolStatus& status) {
  return std::accumulate(
      status.workers.begin(), status.workers.end(), 0.0,
      [](double sum, const WorkerStatus& worker) { return sum + worker.rate_per_s; });
}

// What cameras' frames came to, when there are any.
std::string StreamsLine(const Totals& totals) {
  if (totals.stream_shards.empty()) return "";
  std::uint64_t owned = 0;
  std::uint64_t cameras = 0;
  std::uint64_t waiting = 0;
  std::uint64_t lag_ms = 0;
  std::uint64_t lost = 0;
  std::array<std::uint64_t, kStreamEvents> events{};
  for (const StreamShardTotals& shard : totals.stream_shards) {
    for (std::size_t i = 0; i < kStreamEvents; ++i) events[i] += shard.events[i];
    if (!shard.owned) continue;
    ++owned;
    cameras += shard.cameras;
    waiting += shard.waiting;
    lag_ms = std::max(lag_ms, shard.lag_ms);
    lost += shard.results_lost;
  }
  return fmt::format(
      "streams     {} with Redis, {} shards, {} cameras, {} frames waiting (the oldest for {:.1f} "
      "s), {} answers lost to slow readers; {} read, {} answered, {} dead\n",
      totals.stream_processes_up, owned, cameras, waiting, static_cast<double>(lag_ms) / 1e3, lost,
      events[static_cast<std::size_t>(StreamEvent::kRead)],
      events[static_cast<std::size_t>(StreamEvent::kAnswered)],
      events[static_cast<std::size_t>(StreamEvent::kDead)]);
}

std::string Summary(const PoolStatus& status) {
  const Totals& totals = status.totals;
  std::string text = fmt::format("inferpool   pid {}, up {}, generation {}\n", status.master,
                                 Duration(status.up_s), status.generation);
  text += "workers     " + Words(totals.workers());
  for (const RoleTotals& role : std::span(totals.roles).subspan(kWorkerRole + 1)) {
    if (role.wanted == 0 && role.starts == 0) continue;
    text += fmt::format("{:<11} {}", role.name.view(), Words(role));
  }
  const HistogramTotal& times = TotalTimes(totals);
  text += fmt::format(
      "requests    {} in work, {:.1f} a second; {} good, {} refused, {} failed; "
      "p50 {} ms, p99 {} ms\n",
      totals.in_work, RateOf(status), CountStatuses(totals, 200, 300),
      CountStatuses(totals, 400, 500), CountStatuses(totals, 500, 600),
      Milliseconds(Quantile(times, 0.5)), Milliseconds(Quantile(times, 0.99)));
  text += StreamsLine(totals);
  if (status.queue) {
    text +=
        fmt::format("queue       {} waiting, {} fit\n", status.queue->waiting, status.queue->max);
  }
  if (status.reload.at_s != 0) {
    text += fmt::format("reload      {} {}: {}; {}\n", Time(status.reload.at_s),
                        status.reload.what.view(), kReloadOutcomes[status.reload.outcome],
                        status.reload.detail.view());
  }
  for (const CrashRecord& crash : status.crashes) {
    text += fmt::format("crash       {} {} {} (pid {}): {}", Time(crash.at_s), crash.role.view(),
                        crash.place, crash.pid, EndOf(crash));
    if (!crash.task.request_id.view().empty()) {
      text += fmt::format(", request {}, model {}", crash.task.request_id.view(),
                          crash.task.model.view());
    }
    text += "\n";
  }
  if (!status.quarantine.empty()) {
    text += fmt::format("quarantine  {} held; see inferpool quarantine list\n",
                        status.quarantine.size());
  }
  return text;
}

Json::Value Numbers(const HistogramTotal& times) {
  Json::Value json;
  const auto p50 = Quantile(times, 0.5);
  const auto p99 = Quantile(times, 0.99);
  json["p50"] = p50 ? Json::Value(*p50) : Json::Value();
  json["p99"] = p99 ? Json::Value(*p99) : Json::Value();
  return json;
}

Json::Value ToJsonValue(const WorkerStatus& worker) {
  Json::Value json;
  json["slot"] = worker.slot;
  json["pid"] = worker.pid;
  json["state"] = std::string(kProcessStateNames[static_cast<std::size_t>(worker.state)]);
  json["age_s"] = worker.age_s;
  json["generation"] = worker.generation;
  json["requests"] = Json::UInt64{worker.served};
  json["in_work"] = worker.in_work;
  json["rate_per_s"] = worker.rate_per_s;
  json["time_ms"] = Numbers(worker.times);
  json["rss_mb"] = Json::Int64{worker.rss_mb};
  json["longest_request_s"] = worker.longest_s;
  return json;
}

Json::Value ToJsonValue(const RoleTotals& role) {
  Json::Value json;
  json["wanted"] = Json::UInt64{role.wanted};
  for (std::size_t i = 1; i < kProcessStateNames.size(); ++i) {
    json[std::string(kProcessStateNames[i])] = Json::UInt64{role.by_state[i]};
  }
  json["backing_off"] = Json::UInt64{role.backing_off};
  json["started"] = Json::UInt64{role.starts};
  json["replaced"] = Json::UInt64{role.planned_ends};
  json["crashed"] = Json::UInt64{role.crashes};
  return json;
}

Json::Value ToJsonValue(const ProcessStatus& process) {
  Json::Value json;
  json["place"] = process.place;
  json["pid"] = process.pid;
  json["state"] = std::string(kProcessStateNames[static_cast<std::size_t>(process.state)]);
  json["age_s"] = process.age_s;
  json["generation"] = process.generation;
  json["rss_mb"] = Json::Int64{process.rss_mb};
  return json;
}

Json::Value ToJsonValue(const CrashRecord& crash) {
  Json::Value json;
  json["time"] = Json::Int64{crash.at_s};
  json["role"] = std::string(crash.role.view());
  json["place"] = crash.place;
  json["pid"] = crash.pid;
  json["signal"] = crash.signal;
  json["exit"] = crash.exit_status;
  json["stuck"] = crash.stuck != 0;
  json["request_id"] = std::string(crash.task.request_id.view());
  json["model"] = std::string(crash.task.model.view());
  json["digest"] = crash.task.digest.known() ? ToHex(crash.task.digest) : "";
  return json;
}

}  // namespace

PoolStatus ReadStatus(const Scoreboard& board, TimePoint now) {
  const Pool& pool = board.pool();
  PoolStatus status;
  status.master = pool.master;
  status.up_s = SecondsSince(pool.started_ns, now);
  status.generation = pool.generation;
  status.totals = board.Sum(now);
  status.queue = ReadListenQueue(pool.listener_inode);
  for (int i = 0; i < board.slots(); ++i) {
    if (board.slot(i).process.pid != 0) status.workers.push_back(ReadWorker(board, i, now));
  }
  status.others = ReadOthers(board, now);
  status.reload = pool.reload.Load().value_or(ReloadRecord{});
  status.crashes = board.Crashes();
  status.quarantine = pool.quarantine.List(now);
  status.at = now;
  return status;
}

void RatesSince(const PoolStatus& earlier, PoolStatus& later) {
  const double seconds = std::chrono::duration<double>(later.at - earlier.at).count();
  if (seconds <= 0) return;
  for (WorkerStatus& worker : later.workers) {
    const auto before = std::ranges::find(earlier.workers, worker.pid, &WorkerStatus::pid);
    const std::uint64_t served = before == earlier.workers.end() ? 0 : before->served;
    worker.rate_per_s =
        static_cast<double>(worker.served - std::min(worker.served, served)) / seconds;
  }
}

std::optional<double> Quantile(const HistogramTotal& times, double part) {
  const auto count = std::accumulate(times.buckets.begin(), times.buckets.end(), std::uint64_t{0});
  if (count == 0) return std::nullopt;
  const double wanted = part * static_cast<double>(count);
  double below = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    const auto here = static_cast<double>(times.buckets[i]);
    const double low = i == 0 ? 0 : static_cast<double>(kBucketBoundsUs[i - 1]) / 1000;
    // The last bucket has no end: its beginning is all that is known.
    if (i + 1 == kBuckets) return low;
    if (here > 0 && below + here >= wanted) {
      const double high = static_cast<double>(kBucketBoundsUs[i]) / 1000;
      return low + (high - low) * std::max(0.0, wanted - below) / here;
    }
    below += here;
  }
  return std::nullopt;
}

std::string ToTable(const PoolStatus& status) {
  std::string text = Summary(status);
  text +=
      fmt::format("\n{:>4} {:>8} {:<9} {:>12} {:>4} {:>10} {:>4} {:>8} {:>8} {:>8} {:>7} {:>9}\n",
                  "SLOT", "PID", "STATE", "AGE", "GEN", "REQUESTS", "WORK", "RATE/S", "P50 MS",
                  "P99 MS", "RSS MB", "OLDEST S");
  for (const WorkerStatus& worker : status.workers) {
    text += fmt::format(
        "{:>4} {:>8} {:<9} {:>12} {:>4} {:>10} {:>4} {:>8.1f} {:>8} {:>8} {:>7} {:>9}\n",
        worker.slot, worker.pid, kProcessStateNames[static_cast<std::size_t>(worker.state)],
        Duration(worker.age_s), worker.generation, worker.served, worker.in_work, worker.rate_per_s,
        Milliseconds(Quantile(worker.times, 0.5)), Milliseconds(Quantile(worker.times, 0.99)),
        worker.rss_mb, worker.in_work == 0 ? "-" : fmt::format("{:.2f}", worker.longest_s));
  }
  return text;
}

std::string ToJson(const PoolStatus& status) {
  Json::Value json;
  json["master"] = status.master;
  json["up_s"] = status.up_s;
  json["generation"] = status.generation;
  json["workers"] = ToJsonValue(status.totals.workers());
  Json::Value& requests = json["requests"];
  requests["in_work"] = Json::UInt64{status.totals.in_work};
  requests["rate_per_s"] = RateOf(status);
  requests["time_ms"] = Numbers(TotalTimes(status.totals));
  for (std::size_t i = 0; i < kHttpStatuses.size(); ++i) {
    requests["by_status"][fmt::format("{}", kHttpStatuses[i].code)] =
        Json::UInt64{status.totals.by_status[i]};
  }
  if (status.queue) {
    json["queue"]["waiting"] = status.queue->waiting;
    json["queue"]["most"] = status.queue->max;
  }
  json["slots"] = Json::arrayValue;
  for (const WorkerStatus& worker : status.workers) json["slots"].append(ToJsonValue(worker));
  json["roles"] = Json::objectValue;
  for (const RoleTotals& role : std::span(status.totals.roles).subspan(kWorkerRole + 1)) {
    if (role.name.view().empty()) continue;
    Json::Value& other = json["roles"][std::string(role.name.view())];
    other = ToJsonValue(role);
    other["processes"] = Json::arrayValue;
  }
  for (const ProcessStatus& process : status.others) {
    const RoleTotals& role = status.totals.roles[static_cast<std::size_t>(process.role)];
    json["roles"][std::string(role.name.view())]["processes"].append(ToJsonValue(process));
  }
  Json::Value& reload = json["reload"];
  reload["time"] = Json::Int64{status.reload.at_s};
  reload["what"] = std::string(status.reload.what.view());
  reload["outcome"] = std::string(kReloadOutcomes[status.reload.outcome]);
  reload["generation"] = status.reload.generation;
  reload["detail"] = std::string(status.reload.detail.view());
  json["crashes"] = Json::arrayValue;
  for (const CrashRecord& crash : status.crashes) json["crashes"].append(ToJsonValue(crash));
  json["quarantine"] = Json::arrayValue;
  for (const Quarantined& entry : status.quarantine) {
    Json::Value item;
    item["digest"] = ToHex(entry.digest);
    item["model"] = std::string(entry.model.view());
    item["request_id"] = std::string(entry.request_id.view());
    item["left_s"] = std::chrono::duration<double>(FromNs(entry.until_ns) - status.at).count();
    json["quarantine"].append(item);
  }
  Json::StreamWriterBuilder builder;
  builder["indentation"] = "  ";
  builder["precision"] = 6;
  return Json::writeString(builder, json) + "\n";
}

}  // namespace inferpool::ops
