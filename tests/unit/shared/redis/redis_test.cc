#include "shared/redis/redis.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <string>

#include "tests/unit/shared/redis/redis_server.h"

namespace inferpool::streams {
namespace {

using std::chrono::milliseconds;

TEST(RedisTest, ArgumentsAndAnswersHoldAnyBytes) {
  const RedisServer server;
  Redis redis = server.Connect();
  const std::string bytes("\0\r\n\xff$3", 6);
  ASSERT_TRUE(redis.Call({"SET", "key", bytes}).ok());
  EXPECT_EQ((**redis.Call({"GET", "key"})).Text(), bytes);
  EXPECT_TRUE((**redis.Call({"GET", "nothing"})).IsNil());
}

TEST(RedisTest, ManyCommandsGoInOneTripAndOneErrorIsOneAnswer) {
  const RedisServer server;
  Redis redis = server.Connect();
  const std::vector<Arguments> commands = {
      {"SET", "key", "1"}, {"XADD", "key", "*", "a", "b"}, {"INCR", "key"}};
  const auto replies = redis.CallAll(commands);
  ASSERT_TRUE(replies.ok());
  EXPECT_TRUE((*(*replies)[0]).ToStatus().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition((*(*replies)[1]).ToStatus()));
  EXPECT_EQ((*(*replies)[2]).Number(), 2);
}

TEST(RedisTest, ErrorsSayTheirKind) {
  const RedisServer server({"--requirepass", "secret"});
  RedisAddress address = server.address();
  EXPECT_TRUE(absl::IsPermissionDenied(Redis::Connect(address).status()));
  address.password = "wrong";
  EXPECT_TRUE(absl::IsPermissionDenied(Redis::Connect(address).status()));
  address.password = "secret";
  auto redis = Redis::Connect(address);
  ASSERT_TRUE(redis.ok());
  ASSERT_TRUE(redis->Call({"XADD", "s", "*", "a", "b"}).ok());
  EXPECT_TRUE(absl::IsNotFound(
      redis->Call({"XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"}).status()));
  address.user = "default";
  EXPECT_TRUE(Redis::Connect(address).ok());
  EXPECT_TRUE(absl::IsUnavailable(Redis::Connect({.where = "unix:/nowhere.sock"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Redis::Connect({.where = "nowhere"}).status()));
}

TEST(RedisTest, AServerThatStopsAnsweringIsAwayAfterItsPatience) {
  RedisServer server;
  RedisAddress address = server.address();
  address.patience = milliseconds(100);
  auto redis = Redis::Connect(address);
  ASSERT_TRUE(redis.ok());
  kill(server.pid(), SIGSTOP);
  EXPECT_TRUE(absl::IsUnavailable(redis->Call({"PING"}).status()));
  kill(server.pid(), SIGCONT);
  server.Kill();
  EXPECT_TRUE(absl::IsUnavailable(redis->Call({"PING"}).status()));
}

TEST(RedisTest, AScriptThatRedisHasForgottenIsLoadedAgain) {
  const Script script("return redis.call('SET', KEYS[1], ARGV[1], 'NX') and 1 or 0");
  const RedisServer server;
  Redis redis = server.Connect();
  for (int i = 0; i < 3; ++i) {
    const Redis::ScriptCall call{&script, {"key"}, {"value"}};
    const Redis::ScriptCall calls[] = {call, call};
    const auto replies = redis.RunAll(calls);
    ASSERT_TRUE(replies.ok());
    EXPECT_EQ((*(*replies)[0]).Number(), i == 0 ? 1 : 0);
    EXPECT_EQ((*(*replies)[1]).Number(), 0);
    ASSERT_TRUE(redis.Call({"SCRIPT", "FLUSH"}).ok());
  }
}

TEST(RedisTest, ALateAnswerIsAwaitedOnTheSocket) {
  const RedisServer server;
  Redis reader = server.Connect();
  Redis writer = server.Connect();
  ASSERT_TRUE(reader.Send({"BLPOP", "list", "5"}).ok());
  pollfd readable{.fd = reader.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&readable, 1, 20), 0);
  ASSERT_TRUE(writer.Call({"RPUSH", "list", "value"}).ok());
  EXPECT_EQ(poll(&readable, 1, 5'000), 1);
  const auto reply = reader.Receive();
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ((**reply).at(1).Text(), "value");
}

}  // namespace
}  // namespace inferpool::streams
