// The follower and the questions, at a real Redis.
#include "ops/live/follower.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "ops/live/questions.h"
#include "shared/redis/names.h"
#include "tests/unit/shared/redis/redis_server.h"

namespace inferpool::live {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using streams::RedisServer;

constexpr int kShards = 4;

// Adds an answer as an owner of shards does, and returns its id.
EntryId AddAnswer(streams::Redis& redis, const std::string& camera, int seq) {
  const std::string key = streams::ResultsKey(streams::ShardOf(camera, kShards));
  const std::string text = fmt::format("{}", seq);
  const auto reply = redis.Call({"XADD", key, "*", "camera", camera, "frame", "1-0", "seq", text,
                                 "status", "200", "json", R"({"detections":[]})"});
  EXPECT_TRUE(reply.ok()) << reply.status();
  return ParseEntryId((**reply).Text()).value_or(EntryId());
}

// What a follower has taken.
class Taken {
 public:
  std::function<void(std::shared_ptr<const Answer>, bool)> Take() {
    return [this](std::shared_ptr<const Answer> answer, bool is_old) {
      const std::lock_guard lock(mutex_);
      answers_.push_back({answer->id, is_old});
      changed_.notify_all();
    };
  }
  using Answers = std::vector<std::pair<EntryId, bool>>;
  Answers Await(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, seconds(20), [&] { return answers_.size() >= count; });
    return answers_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Answers answers_;
};

TEST(FollowerTest, OldAnswersAndThenThoseOfAllShards) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  const EntryId old = AddAnswer(redis, "camera-1", 1);
  Taken taken;
  const Follower follower({.address = server.address(), .shards = kShards, .take = taken.Take()});
  EXPECT_EQ(taken.Await(1), (Taken::Answers{{old, true}}));
  std::size_t count = 1;
  for (int i = 0; i < 20; ++i) {
    const EntryId id = AddAnswer(redis, fmt::format("camera-{}", i), 2);
    const auto answers = taken.Await(++count);
    ASSERT_EQ(answers.size(), count);
    EXPECT_EQ(answers.back(), (std::pair{id, false}));
  }
  EXPECT_TRUE(follower.is_connected());
}

TEST(FollowerTest, ItReadsOnWhenRedisIsBack) {
  RedisServer server({"--appendonly", "yes", "--appendfsync", "always"});
  Taken taken;
  const Follower follower({.address = server.address(), .shards = kShards, .take = taken.Take()});
  {
    streams::Redis redis = server.Connect();
    AddAnswer(redis, "a", 1);
    EXPECT_EQ(taken.Await(1).size(), 1U);
  }
  server.Kill();
  for (int i = 0; i < 500 && follower.is_connected(); ++i) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_FALSE(follower.is_connected());
  server.Start();
  streams::Redis redis = server.Connect();
  const EntryId id = AddAnswer(redis, "a", 2);
  const auto answers = taken.Await(2);
  ASSERT_EQ(answers.size(), 2U) << "each once";
  EXPECT_EQ(answers.back(), (std::pair{id, false}));
}

TEST(FollowerTest, AKeyThatIsNoStreamIsLeftOut) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  const int shard = streams::ShardOf("a", kShards);
  const std::string first = streams::ResultsKey((shard + 1) % kShards);
  const std::string second = streams::ResultsKey((shard + 2) % kShards);
  ASSERT_TRUE(redis.Call({"SET", first, "x"}).ok());
  Taken taken;
  const Follower follower({.address = server.address(), .shards = kShards, .take = taken.Take()});
  AddAnswer(redis, "a", 1);
  EXPECT_EQ(taken.Await(1).size(), 1U);
  ASSERT_TRUE(redis.Call({"SET", second, "x"}).ok());
  AddAnswer(redis, "a", 2);
  AddAnswer(redis, "a", 3);
  EXPECT_EQ(taken.Await(3).size(), 3U);
  EXPECT_TRUE(follower.is_connected());
  ASSERT_TRUE(redis.Call({"DEL", first, second}).ok());
  std::string back = "a";
  while (streams::ShardOf(back, kShards) != (shard + 1) % kShards) back += "a";
  AddAnswer(redis, back, 1);
  EXPECT_EQ(taken.Await(4).size(), 4U) << "it is looked at again";
}

TEST(FollowerTest, ItStopsWhileItWaitsAndWhileRedisIsAway) {
  RedisServer server;
  const auto begin = Clock::now();
  {
    Taken taken;
    const Follower follower({.address = server.address(), .shards = kShards, .take = taken.Take()});
    std::this_thread::sleep_for(milliseconds(100));
  }
  server.Kill();
  {
    Taken taken;
    const Follower follower({.address = server.address(), .shards = kShards, .take = taken.Take()});
  }
  EXPECT_LT(Clock::now() - begin, seconds(4));
}

class QuestionsTest : public testing::Test {
 protected:
  RedisServer server_;
  streams::Redis redis_ = server_.Connect();
  Questions questions_{server_.address(), kShards, "inferpool:cameras"};
};

TEST_F(QuestionsTest, TheSetOfCameras) {
  EXPECT_TRUE(questions_.Members(10)->empty());
  ASSERT_TRUE(redis_.Call({"SADD", "inferpool:cameras", "a", "b", "bad\nname"}).ok());
  EXPECT_EQ(questions_.Members(10)->size(), 2U);
  EXPECT_TRUE(*questions_.IsMember("a"));
  EXPECT_FALSE(*questions_.IsMember("c"));
}

TEST_F(QuestionsTest, TheLedgerAndWhatWaits) {
  const int shard = streams::ShardOf("a:b", kShards);
  const std::string ledger = streams::LedgerKey(shard), frames = streams::FramesKey(shard, "a:b");
  ASSERT_TRUE(redis_
                  .Call({"HSET", ledger, "a:b:produced", "12", "a:b:published", "9",
                         "a:b:superseded", "2", "a:b:pending", "1"})
                  .ok());
  ASSERT_TRUE(redis_.Call({"XADD", frames, "*", "picture", "x"}).ok());
  const std::vector<std::string> cameras = {"a:b", "nobody"};
  const auto counts = questions_.CountsOf(cameras);
  ASSERT_TRUE(counts.ok()) << counts.status();
  ASSERT_TRUE((*counts)[0].ledger);
  EXPECT_EQ(*(*counts)[0].ledger, (Ledger{12, 9, 2, 0, 0, 0, 0, 1}));
  EXPECT_EQ((*counts)[0].waiting, 1);
  EXPECT_FALSE((*counts)[1].ledger);
  EXPECT_EQ((*counts)[1].waiting, 0);
}

TEST_F(QuestionsTest, WhoeverWantsASnapshotSaysThatHeLooks) {
  const int shard = streams::ShardOf("a", kShards);
  EXPECT_EQ(*questions_.Snapshot("a"), "");
  const std::string look = streams::LookKey(shard, "a");
  const auto left = redis_.Call({"PTTL", look});
  EXPECT_GT((**left).Number(), 9'000);
  EXPECT_LE((**left).Number(), 10'000);
  const std::string key = streams::SnapshotKey(shard, "a"), bytes("\xff\xd8\0x", 4);
  ASSERT_TRUE(redis_.Call({"SET", key, bytes, "PX", "10000"}).ok());
  EXPECT_EQ(*questions_.Snapshot("a"), bytes);
}

TEST_F(QuestionsTest, TheHistoryOfACameraInPages) {
  std::vector<EntryId> ids;
  for (int i = 0; i < 250; ++i) {
    const EntryId id = AddAnswer(redis_, "a", i);
    ids.push_back(id);
    const std::string key = streams::ResultsKey(streams::ShardOf("a", kShards));
    ASSERT_TRUE(redis_.Call({"XADD", key, "*", "camera", "another", "json", "{}"}).ok());
  }
  EntryId after = ids.front();
  std::vector<EntryId> found = {after};
  bool is_last = false;
  for (int pages = 0; !is_last; ++pages) {
    ASSERT_LT(pages, 10);
    const auto page = questions_.History("a", after);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_FALSE(page->is_incomplete);
    for (const Answer& answer : page->answers) found.push_back(answer.id);
    after = page->last;
    is_last = page->is_last;
  }
  EXPECT_EQ(found, ids);
  EXPECT_TRUE(questions_.History("a", {1, 0})->is_incomplete);
}

TEST_F(QuestionsTest, TheyFailWhileRedisIsAwayAndNotAfterwards) {
  EXPECT_TRUE(questions_.IsMember("a").ok());
  server_.Kill();
  EXPECT_TRUE(absl::IsUnavailable(questions_.IsMember("a").status()));
  EXPECT_TRUE(absl::IsUnavailable(questions_.Snapshot("a").status()));
  server_.Start();
  bool is_back = false;
  for (int i = 0; i < 200 && !is_back; ++i) {
    is_back = questions_.IsMember("a").ok();
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_TRUE(is_back);
}

}  // namespace
}  // namespace inferpool::live
