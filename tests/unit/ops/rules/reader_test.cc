// The reader at a real Redis. Nobody listens where the rules' receivers should be, so that events
// stay where they are.
#include "ops/rules/reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "shared/redis/names.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/shared/redis/redis_server.h"

namespace inferpool::rules {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using streams::OwnedReply;
using streams::RedisServer;

constexpr int kShards = 4;
constexpr std::string_view kPerson =
    R"({"image":{"width":100,"height":100},"detections":[{"box":{"x1":10,"y1":10,"x2":30,"y2":80},)"
    R"("confidence":0.9,"class_name":"person"}]})";
constexpr std::string_view kNobody = R"({"image":{"width":100,"height":100},"detections":[]})";

class ReaderTest : public testing::Test {
 protected:
  void Start() {
    reader_ = std::make_unique<Reader>(OptionsOf());
    Await("it is the owner", [&] {
      for (int shard = 0; shard < kShards; ++shard) {
        if (Number({"EXISTS", streams::RulesOwnerKey(shard)}) == 0) return false;
      }
      return true;
    });
  }
  Reader::Options OptionsOf() {
    return {.address = server_.address(), .shards = kShards, .rules = rules_, .counts = *counts_};
  }

  template <typename Condition>
  static void Await(const char* what, const Condition& condition) {
    for (int i = 0; i < 1'000; ++i) {
      if (condition()) return;
      std::this_thread::sleep_for(milliseconds(20));
    }
    FAIL() << "never: " << what;
  }
  std::int64_t Number(const streams::Arguments& command) {
    const auto reply = redis_.Call(command);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.ok() ? (**reply).Number() : -1;
  }
  // An owner of shards stores an answer.
  void Answer(const std::string& camera, std::string_view json, const std::string& id = "*") {
    const std::string key = streams::ResultsKey(streams::ShardOf(camera, kShards));
    const auto reply = redis_.Call({"XADD", key, id, "camera", camera, "frame", "1-0", "seq", "1",
                                    "status", "200", "json", json});
    EXPECT_TRUE(reply.ok()) << reply.status();
  }
  static std::string InAnotherShard(int shard, const std::string& name = "b") {
    std::string camera = name;
    for (int i = 0; streams::ShardOf(camera, kShards) == shard; ++i) {
      camera = fmt::format("{}{}", name, i);
    }
    return camera;
  }
  std::int64_t Events() {
    std::int64_t events = 0;
    for (int shard = 0; shard < kShards; ++shard) {
      events += Number({"XLEN", streams::EventsKey(shard)});
    }
    return events;
  }
  // A member of what XINFO says.
  static std::string Member(const streams::Reply& list, std::string_view name) {
    for (std::size_t i = 0; i + 1 < list.size(); i += 2) {
      if (list.at(i).Text() != name) continue;
      const std::string_view text = list.at(i + 1).Text();
      return text.empty() ? fmt::format("{}", list.at(i + 1).Number()) : std::string(text);
    }
    return "";
  }
  // Until all answers were judged.
  void AwaitJudged() {
    Await("all are judged", [&] {
      for (int shard = 0; shard < kShards; ++shard) {
        const std::string key = streams::ResultsKey(shard);
        const auto stream = redis_.Call({"XINFO", "STREAM", key});
        const auto groups = redis_.Call({"XINFO", "GROUPS", key});
        if (!stream.ok() || !groups.ok() || (**groups).size() != 1) return false;
        const streams::Reply group = (**groups).at(0);
        if (Member(group, "pending") != "0" ||
            Member(group, "last-delivered-id") != Member(**stream, "last-generated-id")) {
          return false;
        }
      }
      return true;
    });
  }
  std::uint64_t Count(RuleEvent what, std::string_view rule = "door") {
    return counts_->Find(rule).events[static_cast<std::size_t>(what)];
  }

  RedisServer server_;
  streams::Redis redis_ = server_.Connect();
  const test::TemporaryFolder folder_;
  Config::Rules rules_ = {{"door",
                           {.classes = {"person"},
                            .hold_off_s = 60,
                            .url = "http://127.0.0.1:1/",
                            .secret_file = folder_ / "none"}}};
  std::unique_ptr<RuleTable> counts_ = std::make_unique<RuleTable>();
  std::unique_ptr<Reader> reader_;
};

TEST_F(ReaderTest, AnAnswerThatMeetsARuleBecomesAnEventThatStays) {
  Answer("a", kPerson);  // before there were rules
  Start();
  Answer("a", kNobody);
  Answer("b", "no JSON");
  Answer("a", kPerson);
  AwaitJudged();
  EXPECT_EQ(Events(), 1);
  EXPECT_EQ(Count(RuleEvent::kMet), 1U);
  const std::string key = streams::EventsKey(streams::ShardOf("a", kShards));
  const auto reply = redis_.Call({"XRANGE", key, "-", "+"});
  const streams::Reply fields = (**reply).at(0).at(1);
  ASSERT_EQ(fields.size(), 8U);
  EXPECT_EQ(fields.at(1).Text(), "door");
  EXPECT_NE(fields.at(7).Text().find("\"camera\":\"a\""), std::string_view::npos);
  EXPECT_NE(fields.at(7).Text().find(fields.at(5).Text()), std::string_view::npos) << "its id";
}

TEST_F(ReaderTest, ARuleHoldsOffForEachCameraByTheTimesOfItsAnswersAlsoOverARestart) {
  Start();
  const std::int64_t begin =
      std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count() -
      200'000;
  const auto at = [&](int second) { return fmt::format("{}-1", begin + second * 1'000); };
  Answer("a", kPerson, at(0));
  Answer("a", kPerson, at(59));
  AwaitJudged();
  EXPECT_EQ(Events(), 1);
  EXPECT_EQ(Count(RuleEvent::kHeld), 1U);
  reader_.reset();
  Start();
  Answer("a", kPerson, at(60));
  AwaitJudged();
  EXPECT_EQ(Events(), 2) << "a minute after the first";
  Answer("a", kPerson, at(100));
  AwaitJudged();
  EXPECT_EQ(Events(), 2) << "it holds off from the second one on";
  Answer("a", kPerson, at(121));
  AwaitJudged();
  EXPECT_EQ(Events(), 3);
  Answer("another", kPerson);
  AwaitJudged();
  EXPECT_EQ(Events(), 4) << "another camera";
}

TEST_F(ReaderTest, WhatAProcessHadReadAndNotSettledWhenItDiedIsJudgedByTheNext) {
  Start();
  reader_.reset();
  Answer("a", kPerson);
  const std::string key = streams::ResultsKey(streams::ShardOf("a", kShards));
  ASSERT_TRUE(redis_
                  .Call({"XREADGROUP", "GROUP", streams::kRulesGroup, streams::kConsumer, "STREAMS",
                         key, ">"})
                  .ok());
  Start();
  AwaitJudged();
  EXPECT_EQ(Events(), 1);
}

TEST_F(ReaderTest, OneOfTwoGoesByTheRulesAndTheOtherFollowsIt) {
  Start();
  auto second = std::make_unique<Reader>(OptionsOf());
  Answer("a", kPerson);
  Answer("b", kPerson);
  AwaitJudged();
  EXPECT_EQ(Events(), 2);
  reader_.reset();
  for (const char* camera : {"c", "d", "e"}) Answer(camera, kPerson);
  AwaitJudged();
  EXPECT_EQ(Events(), 5);
  EXPECT_EQ(Count(RuleEvent::kMet), 5U);
  second.reset();
  EXPECT_EQ(Number({"EXISTS", streams::kRulesLease}), 0) << "given back";
}

TEST_F(ReaderTest, WhoeverHasLostTheLeaseNotesNothing) {
  Start();
  for (int shard = 0; shard < kShards; ++shard) {
    ASSERT_TRUE(redis_.Call({"SET", streams::RulesOwnerKey(shard), "somebody else"}).ok());
  }
  ASSERT_TRUE(redis_.Call({"SET", streams::kRulesLease, "somebody else", "PX", "1500"}).ok());
  Answer("a", kPerson);
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(Events(), 0);
  // The other one has died.
  AwaitJudged();
  EXPECT_EQ(Events(), 1);
}

TEST_F(ReaderTest, ALostGroupIsMadeAgainWhereItWas) {
  Start();
  Answer("a", kPerson);
  AwaitJudged();
  const std::string key = streams::ResultsKey(streams::ShardOf("a", kShards));
  EXPECT_EQ(Number({"XGROUP", "DESTROY", key, streams::kRulesGroup}), 1);
  std::string other;  // of the same shard
  for (int i = 0;
       other.empty() || streams::ShardOf(other, kShards) != streams::ShardOf("a", kShards); ++i) {
    other = fmt::format("b{}", i);
  }
  Answer(other, kPerson);
  Await("it is judged", [&] { return Events() == 2; });
  EXPECT_EQ(Count(RuleEvent::kMet), 2U);
}

TEST_F(ReaderTest, AWrongKeyWhereARuleHoldsOffLosesNoEvent) {
  const int shard = streams::ShardOf("a", kShards);
  ASSERT_TRUE(redis_.Call({"SADD", streams::HeldKey(shard, "door", "a"), "x"}).ok());
  Start();
  Answer("a", kPerson);
  Answer("b", kPerson);
  AwaitJudged();
  EXPECT_EQ(Events(), 2);
  Answer("a", kPerson);
  AwaitJudged();
  EXPECT_EQ(Count(RuleEvent::kHeld), 1U);
}

TEST_F(ReaderTest, AWrongKeyInPlaceOfAShardsEventsStopsNoOtherShard) {
  const int wrong = streams::ShardOf("a", kShards);
  const std::string events = streams::EventsKey(wrong);
  ASSERT_TRUE(redis_.Call({"SADD", events, "x"}).ok());
  Start();
  Answer("a", kPerson);
  Answer(InAnotherShard(wrong), kPerson);
  AwaitJudged();
  EXPECT_EQ(Count(RuleEvent::kMet), 2U);
  EXPECT_EQ(Count(RuleEvent::kGivenUp), 1U);
  EXPECT_EQ(Number({"SCARD", events}), 1) << "it is somebody's";
  EXPECT_EQ(Number({"DEL", events}), 1);
  EXPECT_EQ(Events(), 1);
  Answer("a", kPerson);
  AwaitJudged();
  EXPECT_EQ(Events(), 2);
}

TEST_F(ReaderTest, AWrongKeyInPlaceOfAShardsResultsStopsNoOtherShard) {
  const int wrong = streams::ShardOf("a", kShards);
  const std::string results = streams::ResultsKey(wrong);
  ASSERT_TRUE(redis_.Call({"SET", results, "x"}).ok());
  reader_ = std::make_unique<Reader>(OptionsOf());
  const std::string other = InAnotherShard(wrong);
  const std::string owner = streams::RulesOwnerKey(streams::ShardOf(other, kShards));
  Await("it is the owner", [&] { return Number({"EXISTS", owner}) == 1; });
  Answer(other, kPerson);
  Await("it is judged", [&] { return Events() == 1; });
  EXPECT_EQ(Number({"DEL", results}), 1);
  Await("the group is made", [&] { return Number({"EXISTS", results}) == 1; });
  Answer("a", kPerson);
  Await("it is judged", [&] { return Events() == 2; });
  // It becomes wrong while it is read.
  ASSERT_TRUE(redis_.Call({"SET", results, "x"}).ok());
  Answer(InAnotherShard(wrong, "c"), kPerson);
  Await("it is judged", [&] { return Count(RuleEvent::kMet) == 3; });
}

TEST_F(ReaderTest, EventsOfARuleThatIsNoMoreAreForgotten) {
  Start();
  Answer("a", kPerson);
  AwaitJudged();
  reader_.reset();
  rules_ = {{"gate", rules_.at("door")}};
  Start();
  Await("it is forgotten", [&] { return Events() == 0; });
}

TEST_F(ReaderTest, RedisMayGoAndComeBack) {
  RedisServer server({"--appendonly", "yes", "--appendfsync", "always"});
  streams::Redis redis = server.Connect();
  const Reader reader(
      {.address = server.address(), .shards = kShards, .rules = rules_, .counts = *counts_});
  const std::string key = streams::ResultsKey(0);
  const auto answer = [&](streams::Redis& at, const char* camera) {
    return at.Call({"XADD", key, "*", "camera", camera, "status", "200", "json", kPerson}).ok();
  };
  Await("it is the owner", [&] {
    return (**redis.Call({"EXISTS", streams::RulesOwnerKey(kShards - 1)})).Number() == 1;
  });
  EXPECT_TRUE(answer(redis, "a"));
  Await("it is judged", [&] { return Count(RuleEvent::kMet) == 1; });
  server.Kill();
  std::this_thread::sleep_for(milliseconds(300));
  server.Start();
  streams::Redis again = server.Connect();
  EXPECT_TRUE(answer(again, "b"));
  Await("it is judged", [&] { return Count(RuleEvent::kMet) == 2; });
  EXPECT_EQ((**again.Call({"XLEN", streams::EventsKey(0)})).Number(), 2);
}

}  // namespace
}  // namespace inferpool::rules
