#include "ops/sidecar/health.h"

#include <gtest/gtest.h>
#include <json/json.h>

#include <string>

#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::ops {
namespace {

Totals Workers(std::uint64_t empty, std::uint64_t starting, std::uint64_t ready,
               std::uint64_t draining) {
  Totals totals;
  totals.workers().by_state = {empty, starting, ready, draining};
  totals.workers().wanted = empty + starting + ready + draining;
  return totals;
}

ModelServer Ready(const std::string& target = "unix:a") {
  return {target, true, "ready"};
}
ModelServer Away(const std::string& detail, const std::string& target = "unix:a") {
  return {target, false, detail};
}

TEST(HealthTest, IsReadyWhenAWorkerAndTheModelServerAre) {
  const Health health = EvaluateHealth(Workers(0, 0, 1, 0), {Ready()});
  EXPECT_TRUE(health.Ready());
  EXPECT_TRUE(health.workers.ready);
  EXPECT_TRUE(health.model_server.ready);
}

TEST(HealthTest, OneReadyWorkerIsEnough) {
  EXPECT_TRUE(EvaluateHealth(Workers(3, 2, 1, 4), {Ready()}).Ready());
}

TEST(HealthTest, WorkersThatOnlyStartOrDrainAreNotReady) {
  for (const Totals& totals :
       {Workers(0, 0, 0, 0), Workers(2, 0, 0, 0), Workers(0, 2, 0, 0), Workers(0, 0, 0, 2)}) {
    const Health health = EvaluateHealth(totals, {Ready()});
    EXPECT_FALSE(health.Ready());
    EXPECT_FALSE(health.workers.ready);
    EXPECT_TRUE(health.model_server.ready) << "each part is judged for itself";
  }
}

TEST(HealthTest, WithoutTheModelServerItIsNotReady) {
  const Health health = EvaluateHealth(Workers(0, 0, 2, 0), {Away("connection refused")});
  EXPECT_FALSE(health.Ready());
  EXPECT_TRUE(health.workers.ready);
  EXPECT_FALSE(health.model_server.ready);
  EXPECT_EQ(health.model_server.detail, "connection refused");
}

TEST(HealthTest, OneReadyModelServerIsEnoughAndTheOthersAreNamed) {
  const Totals totals = Workers(0, 0, 1, 0);
  Health health =
      EvaluateHealth(totals, {Ready("unix:a"), Away("refused", "dns:b:1"), Ready("dns:c:1")});
  EXPECT_TRUE(health.Ready());
  EXPECT_EQ(health.model_server.detail, "2 of 3 ready; dns:b:1: refused");
  health = EvaluateHealth(totals, {Away("silent", "unix:a"), Away("refused", "dns:b:1")});
  EXPECT_FALSE(health.Ready());
  EXPECT_EQ(health.model_server.detail, "0 of 2 ready; unix:a: silent; dns:b:1: refused");
  health = EvaluateHealth(totals, {{"unix:a", true, "ready, in part"}, Ready("dns:b:1")});
  EXPECT_EQ(health.model_server.detail, "2 of 2 ready; unix:a: ready, in part");
  EXPECT_EQ(EvaluateHealth(totals, {Ready("unix:a"), Ready("dns:b:1")}).model_server.detail,
            "2 of 2 ready");
}

TEST(HealthTest, TheDetailCountsTheWorkers) {
  EXPECT_EQ(EvaluateHealth(Workers(1, 1, 2, 1), {Ready()}).workers.detail, "2 of 5 ready");
  EXPECT_EQ(EvaluateHealth(Workers(3, 0, 0, 0), {Ready()}).workers.detail, "0 of 3 ready");
}

TEST(HealthTest, TheDetailNamesThoseThatWaitAfterACrash) {
  Totals totals = Workers(2, 0, 1, 0);
  totals.workers().backing_off = 2;
  EXPECT_EQ(EvaluateHealth(totals, {Ready()}).workers.detail,
            "1 of 3 ready, 2 waiting to be started again after a crash");
}

TEST(HealthTest, JsonHasTheVerdictAndEachPartWithItsReason) {
  const Json::Value json = test::ParseJson(
      ToJson(EvaluateHealth(Workers(0, 0, 2, 0), {Away("say \"when\"\n\x01\xff")}), true));
  EXPECT_EQ(json["ready"], false);
  EXPECT_EQ(json["workers"]["ready"], true);
  EXPECT_EQ(json["workers"]["detail"], "2 of 2 ready");
  EXPECT_EQ(json["model_server"]["ready"], false);
  EXPECT_EQ(json["model_server"]["detail"].asString().substr(0, 12), "say \"when\"\n\x01");
  EXPECT_EQ(test::ParseJson(ToJson(EvaluateHealth(Workers(0, 0, 1, 0), {Ready()}), true))["ready"],
            true);
}

}  // namespace
}  // namespace inferpool::ops
