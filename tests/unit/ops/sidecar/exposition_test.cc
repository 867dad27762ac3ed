#include "ops/sidecar/exposition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace inferpool::ops {
namespace {

// Prometheus' text format 0.0.4, as a scraper reads it.
struct Page {
  std::map<std::string, std::string> types;    // by family
  std::set<std::string> helps;                 // families
  std::map<std::string, std::string> samples;  // "name{labels}" -> value as written
  std::vector<std::string> le;                 // of the first histogram, in order

  double Number(const std::string& sample) const {
    const auto it = samples.find(sample);
    if (it == samples.end()) {
      ADD_FAILURE() << "there is no " << sample;
      return std::numeric_limits<double>::quiet_NaN();
    }
    return std::stod(it->second);
  }
};

Page Parse(const std::string& text) {
  static const std::regex kSample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? ([^ ]+))re");
  Page page;
  EXPECT_TRUE(text.empty() || text.back() == '\n');
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string hash, kind, family, rest;
    if (line.starts_with("# ")) {
      words >> hash >> kind >> family;
      std::getline(words, rest);
      if (kind == "TYPE") {
        EXPECT_TRUE(page.types.emplace(family, rest.substr(1)).second) << family << " twice";
      } else if (kind == "HELP") {
        EXPECT_GT(rest.size(), 5U) << family;
        page.helps.insert(family);
      }
      continue;
    }
    std::smatch found;
    if (!std::regex_match(line, found, kSample)) {
      ADD_FAILURE() << "no sample: " << line;
      continue;
    }
    const std::string value = found[3];
    std::size_t used = 0;
    EXPECT_NO_THROW(std::stod(value, &used));
    EXPECT_EQ(used, value.size()) << line;
    EXPECT_TRUE(page.samples.emplace(found[1].str() + found[2].str(), value).second)
        << "twice: " << line;
    const std::size_t le = line.find("stage=\"queue\",le=\"");
    if (le != std::string::npos) {
      page.le.push_back(line.substr(le + 18, line.find('"', le + 18) - le - 18));
    }
  }
  return page;
}

Health Ready() {
  return {.workers = {true, ""}, .model_server = {true, ""}, .model_servers = {}};
}

// Numbers that differ everywhere.
Totals Numbered() {
  Totals totals;
  std::uint64_t next = 1'000;
  for (auto& count : totals.by_status) count = ++next;
  for (auto& count : totals.model_calls) count = ++next;
  totals.bytes_in = ++next;
  totals.bytes_out = ++next;
  totals.in_work = ++next;
  totals.heavy_waiting = ++next;
  totals.heavy_working = ++next;
  totals.heavy_bytes = ++next;
  for (auto& count : totals.workers().by_state) count = ++next;
  totals.workers().wanted = ++next;
  totals.workers().backing_off = ++next;
  totals.quarantined = ++next;
  totals.workers().starts = ++next;
  totals.workers().crashes = ++next;
  totals.workers().planned_ends = ++next;
  for (auto& stage : totals.stages) {
    for (auto& bucket : stage.buckets) bucket = ++next;
    stage.sum_us = ++next * 1'000;
  }
  return totals;
}

TEST(ExpositionTest, EveryMetricIsThereFromTheStartAtZero) {
  const Page page = Parse(Exposition(Totals(), Health{}));
  const std::map<std::string, std::string> wanted = {{"inferpool_requests_total", "counter"},
                                                     {"inferpool_stage_seconds", "histogram"},
                                                     {"inferpool_model_calls_total", "counter"},
                                                     {"inferpool_received_bytes_total", "counter"},
                                                     {"inferpool_sent_bytes_total", "counter"},
                                                     {"inferpool_requests_in_work", "gauge"},
                                                     {"inferpool_heavy_requests", "gauge"},
                                                     {"inferpool_heavy_bytes", "gauge"},
                                                     {"inferpool_workers", "gauge"},
                                                     {"inferpool_worker_starts_total", "counter"},
                                                     {"inferpool_worker_ends_total", "counter"},
                                                     {"inferpool_workers_wanted", "gauge"},
                                                     {"inferpool_workers_backing_off", "gauge"},
                                                     {"inferpool_quarantined_inputs", "gauge"},
                                                     {"inferpool_listen_queue", "gauge"},
                                                     {"inferpool_listen_queue_limit", "gauge"},
                                                     {"inferpool_model_server_ready", "gauge"},
                                                     {"inferpool_ready", "gauge"}};
  for (const auto& [family, type] : wanted) {
    ASSERT_TRUE(page.types.contains(family)) << family;
    EXPECT_EQ(page.types.at(family), type) << family;
    EXPECT_TRUE(page.helps.contains(family)) << family;
  }
  for (const auto& [sample, value] : page.samples) EXPECT_EQ(std::stod(value), 0) << sample;
  // A series that appears later would look like a counter that jumped.
  EXPECT_EQ(page.samples.size(), Parse(Exposition(Numbered(), Ready())).samples.size());
}

TEST(ExpositionTest, RequestsAreCountedByStatus) {
  const Totals totals = Numbered();
  const Page page = Parse(Exposition(totals, Ready()));
  for (std::size_t i = 0; i < kHttpStatuses.size(); ++i) {
    EXPECT_EQ(page.Number("inferpool_requests_total{status=\"" +
                          std::to_string(kHttpStatuses[i].code) + "\"}"),
              static_cast<double>(totals.by_status[i]));
  }
}

TEST(ExpositionTest, ModelCallsAreCountedByEvent) {
  const Totals totals = Numbered();
  const Page page = Parse(Exposition(totals, Ready()));
  for (std::size_t i = 0; i < kModelCalls; ++i) {
    EXPECT_EQ(page.Number("inferpool_model_calls_total{event=\"" + std::string(kModelCallNames[i]) +
                          "\"}"),
              static_cast<double>(totals.model_calls[i]));
  }
}

TEST(ExpositionTest, TheOtherNumbersAreWhereTheyBelong) {
  const Totals totals = Numbered();
  const Page page = Parse(Exposition(totals, Ready()));
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  EXPECT_EQ(page.Number("inferpool_received_bytes_total"), number(totals.bytes_in));
  EXPECT_EQ(page.Number("inferpool_sent_bytes_total"), number(totals.bytes_out));
  EXPECT_EQ(page.Number("inferpool_requests_in_work"), number(totals.in_work));
  EXPECT_EQ(page.Number(R"(inferpool_heavy_requests{state="waiting"})"),
            number(totals.heavy_waiting));
  EXPECT_EQ(page.Number(R"(inferpool_heavy_requests{state="working"})"),
            number(totals.heavy_working));
  EXPECT_EQ(page.Number("inferpool_heavy_bytes"), number(totals.heavy_bytes));
  EXPECT_EQ(page.Number("inferpool_workers_wanted"), number(totals.workers().wanted));
  EXPECT_EQ(page.Number("inferpool_workers_backing_off"), number(totals.workers().backing_off));
  EXPECT_EQ(page.Number("inferpool_quarantined_inputs"), number(totals.quarantined));
  EXPECT_EQ(page.Number("inferpool_worker_starts_total"), number(totals.workers().starts));
  EXPECT_EQ(page.Number(R"(inferpool_worker_ends_total{reason="crash"})"),
            number(totals.workers().crashes));
  EXPECT_EQ(page.Number(R"(inferpool_worker_ends_total{reason="planned"})"),
            number(totals.workers().planned_ends));
  // The first state is that of no process.
  for (std::size_t i = 1; i < kProcessStateNames.size(); ++i) {
    EXPECT_EQ(
        page.Number("inferpool_workers{state=\"" + std::string(kProcessStateNames[i]) + "\"}"),
        number(totals.workers().by_state[i]));
  }
}

TEST(ExpositionTest, BucketsAreCumulativeAndEndWithAllSamples) {
  const Totals totals = Numbered();
  const Page page = Parse(Exposition(totals, Ready()));
  ASSERT_EQ(page.le.size(), kBuckets);
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    const std::string labels = "{stage=\"" + std::string(kStageNames[stage]) + "\"";
    double sum = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      sum += static_cast<double>(totals.stages[stage].buckets[i]);
      EXPECT_EQ(
          page.Number("inferpool_stage_seconds_bucket" + labels + ",le=\"" + page.le[i] + "\"}"),
          sum);
    }
    EXPECT_EQ(page.le.back(), "+Inf");
    EXPECT_EQ(page.Number("inferpool_stage_seconds_count" + labels + "}"), sum);
    EXPECT_DOUBLE_EQ(page.Number("inferpool_stage_seconds_sum" + labels + "}"),
                     static_cast<double>(totals.stages[stage].sum_us) / 1e6);
  }
}

// Alerts name a bucket by its text: le="0.1", not le="0.09999999999999999".
TEST(ExpositionTest, BucketBoundsAreTheShortNumbersOfTheTable) {
  EXPECT_EQ(Parse(Exposition(Totals(), Health{})).le,
            (std::vector<std::string>{"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
                                      "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}));
}

TEST(ExpositionTest, EachRoleHasItsProcesses) {
  Totals totals;
  totals.roles[0] = {.name = RoleName("worker"), .wanted = 4};
  totals.roles[1] = {.name = RoleName("beacon"),
                     .by_state = {0, 1, 2, 3},
                     .wanted = 6,
                     .backing_off = 7,
                     .starts = 8,
                     .crashes = 9,
                     .planned_ends = 10};
  const Page page = Parse(Exposition(totals, Ready()));
  EXPECT_EQ(page.types.at("inferpool_processes"), "gauge");
  EXPECT_EQ(page.types.at("inferpool_process_starts_total"), "counter");
  EXPECT_EQ(page.Number(R"(inferpool_processes_wanted{role="worker"})"), 4);
  EXPECT_EQ(page.Number(R"(inferpool_processes{role="beacon",state="starting"})"), 1);
  EXPECT_EQ(page.Number(R"(inferpool_processes{role="beacon",state="ready"})"), 2);
  EXPECT_EQ(page.Number(R"(inferpool_processes{role="beacon",state="draining"})"), 3);
  EXPECT_EQ(page.Number(R"(inferpool_processes_wanted{role="beacon"})"), 6);
  EXPECT_EQ(page.Number(R"(inferpool_processes_backing_off{role="beacon"})"), 7);
  EXPECT_EQ(page.Number(R"(inferpool_process_starts_total{role="beacon"})"), 8);
  EXPECT_EQ(page.Number(R"(inferpool_process_ends_total{role="beacon",reason="crash"})"), 9);
  EXPECT_EQ(page.Number(R"(inferpool_process_ends_total{role="beacon",reason="planned"})"), 10);
}

TEST(ExpositionTest, LargeCountersLoseNothing) {
  Totals totals;
  totals.bytes_in = 9'007'199'254'740'991;  // 2^53 - 1: all that a double has
  totals.by_status[0] = 123'456'789'012;
  const Page page = Parse(Exposition(totals, Ready()));
  EXPECT_EQ(page.Number("inferpool_received_bytes_total"), 9'007'199'254'740'991.0);
  EXPECT_EQ(page.Number(R"(inferpool_requests_total{status="200"})"), 123'456'789'012.0);
}

TEST(ExpositionTest, ReadinessIsOneOnlyWhenBothPartsAre) {
  for (const bool workers : {false, true}) {
    for (const bool model_server : {false, true}) {
      const Page page = Parse(Exposition(
          Totals(),
          {.workers = {workers, ""}, .model_server = {model_server, ""}, .model_servers = {}}));
      EXPECT_EQ(page.Number("inferpool_model_server_ready"), model_server ? 1 : 0);
      EXPECT_EQ(page.Number("inferpool_ready"), workers && model_server ? 1 : 0);
    }
  }
}

TEST(ExpositionTest, EachModelServerHasItsReadiness) {
  Health health = Ready();
  health.model_servers = {{"unix:/a", true, "ready"}, {"dns:\"b\":1", false, "away"}};
  const Page page = Parse(Exposition(Totals(), health));
  EXPECT_EQ(page.types.at("inferpool_model_server_target_ready"), "gauge");
  EXPECT_EQ(page.Number(R"(inferpool_model_server_target_ready{target="unix:/a"})"), 1);
  EXPECT_EQ(page.Number(R"(inferpool_model_server_target_ready{target="dns:\"b\":1"})"), 0);
}

TEST(ExpositionTest, EachKeyHasItsRequests) {
  Totals totals;
  totals.keys = {{.name = KeyName("shop"), .allowed = 7, .limited = 2}};
  totals.cache_hits = 5;
  totals.cache_misses = 6;
  const Page page = Parse(Exposition(totals, Ready()));
  EXPECT_EQ(page.types.at("inferpool_key_requests_total"), "counter");
  EXPECT_EQ(page.Number(R"(inferpool_key_requests_total{key="shop",outcome="allowed"})"), 7);
  EXPECT_EQ(page.Number(R"(inferpool_key_requests_total{key="shop",outcome="limited"})"), 2);
  EXPECT_EQ(page.Number(R"(inferpool_cache_requests_total{outcome="hit"})"), 5);
  EXPECT_EQ(page.Number(R"(inferpool_cache_requests_total{outcome="miss"})"), 6);
}

TEST(ExpositionTest, StreamsAreToldByShardCameraAndProcess) {
  Totals totals;
  EXPECT_EQ(Exposition(totals, Ready()).find("inferpool_stream"), std::string::npos);
  totals.stream_shards = {
      {.shard = 7, .waiting = 5, .lag_ms = 1'250, .results_lost = 40, .cameras = 2, .owned = true}};
  totals.stream_shards[0].events[static_cast<std::size_t>(StreamEvent::kNotStored)] = 9;
  totals.stream_trips[0].buckets = {1, 0, 2};  // one of 1 frame, two of 3 or 4
  totals.stream_trips[0].frames = 8;
  totals.stream_model_calls[0] = 6;
  totals.roles[4] = {.name = RoleName("live"), .clients = 3};
  totals.live_events = 70;
  std::vector<StreamCamera> cameras(1);
  cameras[0].name = FixedText<129>("the \"door\"");
  cameras[0].frames[0] = 11;
  cameras[0].waiting = 2;
  cameras[0].lag_ms = 500;
  const Page page = Parse(Exposition(totals, Ready(), std::nullopt, cameras));
  for (const auto& [family, type] : page.types) EXPECT_TRUE(page.helps.contains(family)) << family;
  EXPECT_EQ(page.Number(R"(inferpool_stream_lag_seconds{shard="07"})"), 1.25);
  EXPECT_EQ(page.Number(R"(inferpool_stream_results_lost_total{shard="07"})"), 40);
  EXPECT_EQ(page.Number(R"(inferpool_stream_events_total{shard="07",event="not_stored"})"), 9);
  EXPECT_EQ(page.types.at("inferpool_stream_batch_frames"), "histogram");
  EXPECT_EQ(page.Number(R"(inferpool_stream_batch_frames_bucket{way="in",le="1"})"), 1);
  EXPECT_EQ(page.Number(R"(inferpool_stream_batch_frames_bucket{way="in",le="4"})"), 3);
  EXPECT_EQ(page.Number(R"(inferpool_stream_batch_frames_sum{way="in"})"), 8);
  EXPECT_EQ(page.Number(R"(inferpool_stream_trips_total{way="in"})"), 3);
  EXPECT_EQ(page.Number(R"(inferpool_stream_trip_frames_total{way="in"})"), 8);
  EXPECT_EQ(page.Number(R"(inferpool_stream_model_calls_total{event="made"})"), 6);
  EXPECT_EQ(page.Number(R"(inferpool_camera_frames{camera="the \"door\"",state="produced"})"), 11);
  EXPECT_EQ(page.Number(R"(inferpool_camera_waiting{camera="the \"door\""})"), 2);
  EXPECT_EQ(page.Number(R"(inferpool_camera_lag_seconds{camera="the \"door\""})"), 0.5);
  EXPECT_EQ(page.Number("inferpool_live_clients"), 3);
  EXPECT_EQ(page.Number("inferpool_live_events_total"), 70);
}

TEST(ExpositionTest, EachRuleHasItsEvents) {
  Totals totals;
  EXPECT_EQ(Exposition(totals, Ready()).find("inferpool_rule"), std::string::npos);
  totals.rules = {{.rule = RuleName("door"), .waiting = 4}};
  totals.rules[0].events[static_cast<std::size_t>(RuleEvent::kGivenUp)] = 2;
  const Page page = Parse(Exposition(totals, Ready()));
  EXPECT_EQ(page.Number(R"(inferpool_rule_events_total{rule="door",event="given_up"})"), 2);
  EXPECT_EQ(page.Number(R"(inferpool_rule_events_total{rule="door",event="met"})"), 0);
  EXPECT_EQ(page.Number(R"(inferpool_rule_waiting{rule="door"})"), 4);
}

TEST(ExpositionTest, TheListenQueueIsShownWhereItIsKnown) {
  const Page page = Parse(Exposition(Totals(), Health{}, ListenQueue{.waiting = 3, .max = 511}));
  EXPECT_EQ(page.Number("inferpool_listen_queue"), 3);
  EXPECT_EQ(page.Number("inferpool_listen_queue_limit"), 511);
}

}  // namespace
}  // namespace inferpool::ops
