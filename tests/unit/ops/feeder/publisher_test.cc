#include "ops/feeder/publisher.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "shared/base/deadline.h"
#include "shared/redis/names.h"
#include "tests/unit/shared/redis/redis_server.h"

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;
using streams::RedisServer;

constexpr std::int64_t kNow = 1'700'000'000'000;

// A publisher with an outbox that the test fills, in a thread of its own.
class Publishing {
 public:
  Publishing(const RedisServer& server, std::vector<Source> sources, Settings settings = {})
      : sources_(std::move(sources)), outbox_(sources_.size(), 8, 1 << 20) {
    settings.redis = server.address();
    settings.redis.patience = milliseconds(200);
    publisher_.emplace(settings, sources_, outbox_, counters_);
    thread_ =
        std::jthread([this](const std::stop_token& stop) { status_ = publisher_->Run(stop); });
  }

  void Put(std::size_t source, std::int64_t ms = kNow) {
    outbox_.PutNewest(source,
                      {.bytes = std::make_shared<const std::string>("picture"), .captured_ms = ms});
  }
  absl::Status Finish() {
    for (std::size_t i = 0; i < sources_.size(); ++i) outbox_.Close(i);
    return Wait();
  }
  absl::Status Wait() {
    thread_.join();
    return status_;
  }
  absl::Status Stop() {
    thread_.request_stop();
    return Wait();
  }
  const Counters& counters() const { return counters_; }

 private:
  std::vector<Source> sources_;
  Outbox outbox_;
  Counters counters_;
  std::optional<Publisher> publisher_;
  absl::Status status_;
  std::jthread thread_;
};

std::string KeyOf(const std::string& camera) {
  return streams::FramesKey(streams::ShardOf(camera, 32), camera);
}

std::vector<std::string> Seqs(streams::Redis& redis, const std::string& camera) {
  std::vector<std::string> seqs;
  const auto reply = redis.Call({"XRANGE", KeyOf(camera), "-", "+"});
  EXPECT_TRUE(reply.ok()) << reply.status();
  for (std::size_t i = 0; reply.ok() && i < (**reply).size(); ++i) {
    seqs.emplace_back((**reply).at(i).at(1).at(3).Text());
  }
  return seqs;
}

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 1'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

TEST(PublisherTest, EntriesHaveWhatConsumersExpect) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  Settings settings;
  settings.remove = true;
  {
    Publishing publishing(server, {{.settings = {}, .cameras = {"door", "gate"}}}, settings);
    publishing.Put(0);
    ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 2; }));
    EXPECT_EQ((**redis.Call({"SCARD", "inferpool:cameras"})).Number(), 2);
    publishing.Put(0, kNow + 5);
    EXPECT_TRUE(publishing.Finish().ok());
  }
  for (const char* camera : {"door", "gate"}) {
    const auto reply = redis.Call({"XRANGE", KeyOf(camera), "-", "+"});
    ASSERT_TRUE(reply.ok());
    ASSERT_EQ((**reply).size(), 2U);
    EXPECT_EQ((**reply).at(0).at(0).Text(), "1700000000000-0");
    const streams::Reply fields = (**reply).at(1).at(1);
    ASSERT_EQ(fields.size(), 8U);
    EXPECT_EQ(fields.at(0).Text(), "epoch");
    EXPECT_EQ(fields.at(1).Text().size(), 16U);
    EXPECT_EQ(fields.at(2).Text(), "seq");
    EXPECT_EQ(fields.at(3).Text(), "2");
    EXPECT_EQ(fields.at(4).Text(), "time");
    EXPECT_EQ(fields.at(5).Text(), "1700000000005");
    EXPECT_EQ(fields.at(6).Text(), "picture");
    EXPECT_EQ(fields.at(7).Text(), "picture");
  }
  EXPECT_EQ((**redis.Call({"SCARD", "inferpool:cameras"})).Number(), 0);
}

TEST(PublisherTest, AStreamThatNobodyReadsIsBounded) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  Settings settings;
  settings.most_frames = 3;
  // Entries that are smaller than a picture share a node, and are trimmed with it.
  ASSERT_TRUE(redis.Call({"CONFIG", "SET", "stream-node-max-entries", "1"}).ok());
  Publishing publishing(server, {{.settings = {}, .cameras = {"door"}}}, settings);
  for (std::uint64_t i = 0; i < 20; ++i) {
    publishing.Put(0, kNow + static_cast<std::int64_t>(i));
    ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == i + 1; }));
  }
  EXPECT_TRUE(publishing.Finish().ok());
  EXPECT_EQ(Seqs(redis, "door"), (std::vector<std::string>{"18", "19", "20"}));
}

TEST(PublisherTest, WhoWaitsSendsNothingWhileTheStreamIsLong) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  Publishing publishing(server, {{.settings = {.address = "", .wait = 1}, .cameras = {"door"}},
                                 {.settings = {}, .cameras = {"gate"}}});
  for (int i = 0; i < 5; ++i) publishing.Put(0);
  ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 2; }));
  publishing.Put(1);  // and the other source is not kept from it
  ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 3; }));
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(Seqs(redis, "door"), (std::vector<std::string>{"1", "2"}));
  ASSERT_TRUE(redis.Call({"XTRIM", KeyOf("door"), "MAXLEN", "1"}).ok());
  ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 4; }));
  EXPECT_EQ(Seqs(redis, "door"), (std::vector<std::string>{"2", "3"}));
  ASSERT_TRUE(redis.Call({"DEL", KeyOf("door")}).ok());
  EXPECT_TRUE(Eventually([&] { return publishing.counters().frames == 6; }));
  EXPECT_TRUE(publishing.Finish().ok());
}

TEST(PublisherTest, AFeederThatStartsWaitsForWhatIsThere) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(redis.Call({"XADD", KeyOf("door"), "*", "a", "b"}).ok());
  Publishing publishing(server, {{.settings = {.address = "", .wait = 3}, .cameras = {"door"}}});
  publishing.Put(0);
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(publishing.counters().frames, 0U);
  ASSERT_TRUE(redis.Call({"DEL", KeyOf("door")}).ok());
  EXPECT_TRUE(Eventually([&] { return publishing.counters().frames == 1; }));
  EXPECT_TRUE(publishing.Finish().ok());
}

TEST(PublisherTest, ARedisThatComesBackGetsAllThatWasKept) {
  RedisServer server({"--appendonly", "yes", "--appendfsync", "always"});
  {
    Publishing publishing(server, {{.settings = {}, .cameras = {"door"}}});
    publishing.Put(0);
    ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 1; }));
    server.Kill();
    for (int i = 1; i < 4; ++i) publishing.Put(0, kNow + i);
    std::this_thread::sleep_for(milliseconds(100));
    server.Start();
    EXPECT_TRUE(publishing.Finish().ok());
    EXPECT_EQ(publishing.counters().reconnects, 1U);
  }
  streams::Redis redis = server.Connect();
  EXPECT_EQ(Seqs(redis, "door"), (std::vector<std::string>{"1", "2", "3", "4"}));
}

TEST(PublisherTest, APictureWhoseAnswerWasLostIsThereOnce) {
  RedisServer server;
  {
    Publishing publishing(server, {{.settings = {}, .cameras = {"door"}}});
    publishing.Put(0);
    ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 1; }));
    // What is sent to a stopped Redis is in its socket, and it reads it when it goes on.
    kill(server.pid(), SIGSTOP);
    publishing.Put(0, kNow + 1);
    std::this_thread::sleep_for(milliseconds(600));
    kill(server.pid(), SIGCONT);
    ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 2; }));
    EXPECT_TRUE(publishing.Finish().ok());
  }
  streams::Redis redis = server.Connect();
  EXPECT_EQ(Seqs(redis, "door"), (std::vector<std::string>{"1", "2"}));
}

TEST(PublisherTest, AStreamOfAClockThatIsAheadIsFollowed) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  ASSERT_TRUE(
      redis.Call({"XADD", KeyOf("door"), "1800000000000-5", "epoch", "e", "seq", "0"}).ok());
  Publishing publishing(server, {{.settings = {}, .cameras = {"door", "gate"}}});
  for (int i = 0; i < 3; ++i) publishing.Put(0);
  ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 6; }));
  EXPECT_TRUE(publishing.Finish().ok());
  EXPECT_EQ(Seqs(redis, "door").size(), 4U);
  EXPECT_EQ(Seqs(redis, "gate"), (std::vector<std::string>{"1", "2", "3"}));
}

TEST(PublisherTest, AFullRedisGetsThePicturesWhenItHasRoom) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  Publishing publishing(server, {{.settings = {}, .cameras = {"door"}}});
  publishing.Put(0);
  ASSERT_TRUE(Eventually([&] { return publishing.counters().frames == 1; }));
  ASSERT_TRUE(redis.Call({"CONFIG", "SET", "maxmemory", "1"}).ok());
  publishing.Put(0);
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(publishing.counters().frames, 1U);
  ASSERT_TRUE(redis.Call({"CONFIG", "SET", "maxmemory", "0"}).ok());
  EXPECT_TRUE(Eventually([&] { return publishing.counters().frames == 2; }));
  EXPECT_EQ(publishing.counters().dropped, 0U);
  EXPECT_TRUE(publishing.Finish().ok());
}

TEST(PublisherTest, OneCamerasWrongKeyIsNotTheOthersConcern) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  ASSERT_TRUE(redis.Call({"SET", KeyOf("door"), "no stream"}).ok());
  Publishing publishing(server, {{.settings = {}, .cameras = {"door", "gate"}}});
  publishing.Put(0);
  publishing.Put(0);
  EXPECT_TRUE(publishing.Finish().ok());
  EXPECT_EQ(publishing.counters().dropped, 2U);
  EXPECT_EQ(Seqs(redis, "gate"), (std::vector<std::string>{"1", "2"}));
}

TEST(PublisherTest, ManyCamerasOfOneSourceGetEachPicture) {
  const RedisServer server;
  streams::Redis redis = server.Connect();
  std::vector<std::string> cameras;
  for (int i = 0; i < 1'200; ++i) cameras.push_back("camera " + std::to_string(i));
  Publishing publishing(server, {{.settings = {}, .cameras = cameras}});
  publishing.Put(0);
  publishing.Put(0, kNow + 40);
  EXPECT_TRUE(publishing.Finish().ok());
  EXPECT_EQ(publishing.counters().frames, 2'400U);
  EXPECT_EQ(Seqs(redis, "camera 0"), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(Seqs(redis, "camera 1199"), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ((**redis.Call({"SCARD", "inferpool:cameras"})).Number(), 1'200);
}

TEST(PublisherTest, WhoIsNotLetInEndsAndWhoIsAskedToEndDoes) {
  const RedisServer closed({"--requirepass", "secret"});
  EXPECT_TRUE(
      absl::IsPermissionDenied(Publishing(closed, {{.settings = {}, .cameras = {"door"}}}).Wait()));
  RedisServer away;
  away.Kill();
  Publishing publishing(away, {{.settings = {}, .cameras = {"door"}}});
  publishing.Put(0);
  const TimePoint begin = Clock::now();
  EXPECT_TRUE(publishing.Stop().ok());
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace inferpool::feeder
