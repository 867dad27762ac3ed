#include "worker/streams/scripts.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "shared/redis/names.h"
#include "tests/unit/shared/redis/redis_server.h"

namespace inferpool::streams {
namespace {

// A producer, an owner of shard 0 and a look at the ledger, all on one connection.
class ScriptsTest : public testing::Test {
 protected:
  explicit ScriptsTest(std::vector<std::string> options = {})
      : server_(std::move(options)), redis_(server_.Connect()) {
    EXPECT_TRUE(Acquire("token"));
  }

  bool Acquire(std::string_view token) {
    const auto got = redis_.Run({&AcquireScript(), {lease_}, {token, "60000"}});
    EXPECT_TRUE(got.ok()) << got.status();
    return got.ok() && (**got).Number() == 1;
  }
  void LoseLease() { ASSERT_TRUE(redis_.Call({"DEL", lease_}).ok()); }

  void Add(std::string_view camera, int seq, std::string_view epoch = "e", long time = 0,
           std::string_view picture = "picture") {
    const std::string key = FramesKey(0, camera);
    const std::string number = fmt::format("{}", seq);
    const std::string at = fmt::format("{}", time);
    const auto added = redis_.Call(
        {"XADD", key, "*", "picture", picture, "epoch", epoch, "seq", number, "time", at});
    EXPECT_TRUE(added.ok()) << added.status();
  }

  struct Frame {
    std::string camera;
    std::string what;
    std::string id;
    std::string seq;  // empty: no fields were given
  };

  absl::StatusOr<std::vector<Frame>> Take(const std::vector<std::string>& cameras,
                                          std::string_view policy = "latest",
                                          std::string_view most_age = "0",
                                          std::string_view token = "token",
                                          std::string_view known = "") {
    std::vector<std::string> keys;
    for (const std::string& camera : cameras) keys.push_back(FramesKey(0, camera));
    Redis::ScriptCall call{
        &TakeScript(),
        {lease_, ledger_},
        {token, kGroup, kConsumer, "1000000", "epoch", "seq", "time", enough_, "1000000"}};
    for (std::size_t i = 0; i < cameras.size(); ++i) {
      call.keys.push_back(keys[i]);
      call.arguments.insert(call.arguments.end(), {cameras[i], policy, most_age, known});
    }
    auto reply = redis_.Run(call);
    if (!reply.ok()) return reply.status();
    std::vector<Frame> frames;
    for (std::size_t i = 0; i < (**reply).size(); ++i) {
      const Reply item = (**reply).at(i);
      Frame frame{cameras[static_cast<std::size_t>(item.at(0).Number()) - 1],
                  std::string(item.at(1).Text()), "", ""};
      if (item.size() > 2) frame.id = item.at(2).Text();
      if (frame.what == "large") {
        frame.seq = fmt::format("{}", item.at(3).Number());
      } else if (item.size() > 3 && item.at(3).size() > 5) {
        frame.seq = item.at(3).at(5).Text();
      }
      frames.push_back(frame);
    }
    return frames;
  }

  // 1: published; 0: it had been before; otherwise the error.
  absl::StatusOr<std::int64_t> Publish(const Frame& frame, std::string_view token = "token",
                                       std::string_view json = "{}") {
    const std::string key = FramesKey(0, frame.camera);
    auto reply = redis_.Run(
        {&PublishScript(),
         {lease_, ledger_, results_, losses_, key},
         {token, kGroup, most_, frame.camera, frame.id, frame.seq, "200", json, "1", "2", "3"}});
    if (!reply.ok()) return reply.status();
    return (**reply).at(0).Number();
  }

  absl::StatusOr<std::int64_t> Drop(const Frame& frame, std::string_view reason,
                                    std::string_view text = "",
                                    std::string_view most_of_all = "1000000") {
    const std::string key = FramesKey(0, frame.camera);
    auto reply = redis_.Run(
        {&DropScript(),
         {lease_, ledger_, dead_, key},
         {"token", kGroup, frame.camera, frame.id, reason, text, "100", "50000", most_of_all}});
    if (!reply.ok()) return reply.status();
    return (**reply).Number();
  }

  std::map<std::string, std::int64_t> Ledger(const std::string& camera) {
    std::map<std::string, std::int64_t> ledger;
    const auto reply = redis_.Call({"HGETALL", ledger_});
    EXPECT_TRUE(reply.ok());
    for (std::size_t i = 0; i < (**reply).size(); i += 2) {
      const std::string field((**reply).at(i).Text());
      if (field.starts_with(camera + ":")) {
        ledger[field.substr(camera.size() + 1)] = (**reply).at(i + 1).Number();
      }
    }
    std::int64_t ends = 0;
    for (const char* what :
         {"published", "superseded", "stale", "trimmed", "overwritten", "failed", "pending"}) {
      ends += ledger[what];
    }
    EXPECT_EQ(ledger["produced"], ends) << camera;
    return ledger;
  }

  // Frames of camera a that are added, taken and published, each after the other.
  void PublishMany(int count, int first = 1) {
    for (int seq = first; seq < first + count; ++seq) {
      Add("a", seq);
      const auto frames = Take({"a"}, "all");
      ASSERT_TRUE(frames.ok() && frames->size() == 1) << seq;
      ASSERT_EQ(*Publish((*frames)[0]), 1) << seq;
    }
  }
  // Lets a group read results, and acknowledge some of them.
  void Read(std::string_view group, int count, int acknowledged) {
    const std::string number = fmt::format("{}", count);
    const auto read =
        redis_.Call({"XREADGROUP", "GROUP", group, "c", "COUNT", number, "STREAMS", results_, ">"});
    ASSERT_TRUE(read.ok()) << read.status();
    const Reply entries = (**read).at(0).at(1);
    ASSERT_EQ(entries.size(), static_cast<std::size_t>(count));
    for (int i = 0; i < acknowledged; ++i) {
      const Reply entry = entries.at(static_cast<std::size_t>(i));
      ASSERT_TRUE(redis_.Call({"XACK", results_, group, entry.at(0).Text()}).ok());
    }
  }
  std::int64_t Lost(std::string_view field) {
    return (**redis_.Call({"HGET", losses_, field})).Number();
  }

  std::int64_t Length(const std::string& key) { return (**redis_.Call({"XLEN", key})).Number(); }

  RedisServer server_;
  Redis redis_;
  std::string enough_ = "100000000";
  std::string lease_ = LeaseKey(0), ledger_ = LedgerKey(0), results_ = ResultsKey(0),
              dead_ = DeadKey(0), losses_ = LossesKey(0);
  std::string most_ = "1000";  // results that are kept
};

TEST_F(ScriptsTest, LatestTakesTheNewestAndCountsWhatFellOut) {
  for (int seq = 1; seq <= 20; ++seq) Add("a", seq);
  Add("b", 1);
  const auto frames = Take({"a", "b", "c"});
  ASSERT_TRUE(frames.ok()) << frames.status();
  ASSERT_EQ(frames->size(), 2);
  EXPECT_EQ((*frames)[0].seq, "20");
  EXPECT_EQ((*frames)[0].what, "new");
  auto ledger = Ledger("a");
  EXPECT_EQ(ledger["produced"], 20);
  EXPECT_EQ(ledger["superseded"], 19);
  EXPECT_EQ(ledger["pending"], 1);
  EXPECT_EQ(*Publish((*frames)[0]), 1);
  ledger = Ledger("a");
  EXPECT_EQ(ledger["published"], 1);
  EXPECT_EQ(ledger["pending"], 0);
  EXPECT_EQ(Length(FramesKey(0, "a")), 0);
  EXPECT_EQ(Length(results_), 1);
  EXPECT_EQ(Ledger("b")["pending"], 1);
}

TEST_F(ScriptsTest, FifoTakesAllInOrder) {
  for (int seq = 1; seq <= 5; ++seq) Add("a", seq);
  for (int seq = 1; seq <= 5; ++seq) {
    const auto frames = Take({"a"}, "fifo");
    ASSERT_EQ(frames->size(), 1);
    EXPECT_EQ(frames->front().seq, fmt::format("{}", seq));
    EXPECT_EQ(*Publish(frames->front()), 1);
  }
  EXPECT_TRUE(Take({"a"}, "fifo")->empty());
  EXPECT_EQ(Ledger("a")["published"], 5);
}

TEST_F(ScriptsTest, GapsOfTheProducersNumbersWereTrimmed) {
  Add("a", 3);  // 1 and 2 are gone
  EXPECT_EQ(*Publish(Take({"a"})->front()), 1);
  Add("a", 7);
  Add("a", 9);  // 4, 5, 6 and 8 are gone, 7 falls out now
  EXPECT_EQ(*Publish(Take({"a"})->front()), 1);
  Add("a", 2, "another epoch");
  EXPECT_EQ(*Publish(Take({"a"})->front()), 1);
  auto ledger = Ledger("a");
  EXPECT_EQ(ledger["produced"], 9 + 2);
  EXPECT_EQ(ledger["trimmed"], 2 + 4 + 1);
  EXPECT_EQ(ledger["superseded"], 1);
  EXPECT_EQ(ledger["published"], 3);
}

TEST_F(ScriptsTest, FramesWithoutNumbersAreCountedAsTheyAreSeen) {
  const std::string key = FramesKey(0, "a");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(redis_.Call({"XADD", key, "*", "picture", "x"}).ok());
  const auto reply = redis_.Run({&TakeScript(),
                                 {lease_, ledger_, key},
                                 {"token", kGroup, kConsumer, "1", "epoch", "seq", "time", enough_,
                                  "1000000", "a", "latest", "0", ""}});
  ASSERT_TRUE(reply.ok()) << reply.status();
  auto ledger = Ledger("a");
  EXPECT_EQ(ledger["produced"], 3);
  EXPECT_EQ(ledger["superseded"], 2);
}

TEST_F(ScriptsTest, APausedOwnerAndARetryPublishNothingTwice) {
  Add("a", 1);
  const auto first = Take({"a"});
  LoseLease();
  ASSERT_TRUE(Acquire("successor"));
  EXPECT_TRUE(absl::IsAborted(Publish(first->front()).status()));
  EXPECT_TRUE(absl::IsAborted(Take({"a"}).status()));
  EXPECT_EQ(Length(results_), 0);
  // The successor claims what was pending, with its fields.
  const auto claimed = Take({"a"}, "latest", "0", "successor");
  ASSERT_EQ(claimed->size(), 1);
  EXPECT_EQ(claimed->front().what, "claimed");
  EXPECT_EQ(claimed->front().id, first->front().id);
  EXPECT_EQ(claimed->front().seq, "1");
  EXPECT_EQ(*Publish(claimed->front(), "successor"), 1);
  EXPECT_EQ(*Publish(claimed->front(), "successor"), 0);
  EXPECT_EQ(Length(results_), 1);
  EXPECT_EQ(Ledger("a")["published"], 1);
}

TEST_F(ScriptsTest, ClaimsDoNotCountDeliveries) {
  Add("a", 1);
  const auto first = Take({"a"});
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Take({"a"})->size(), 1);
  const auto pending = redis_.Call({"XPENDING", FramesKey(0, "a"), kGroup, "-", "+", "1"});
  EXPECT_EQ((**pending).at(0).at(3).Number(), 1);
  EXPECT_EQ(Ledger("a")["produced"], 1);
}

TEST_F(ScriptsTest, AFrameOfABlockingReadIsCountedWithoutBeingSentAgain) {
  Add("a", 1);
  EXPECT_EQ(*Publish(Take({"a"})->front()), 1);  // makes the group
  Add("a", 2);
  const std::string key = FramesKey(0, "a");
  const auto read = redis_.Call({"XREADGROUP", "GROUP", kGroup, kConsumer, "COUNT", "1", "BLOCK",
                                 "1000", "STREAMS", key, ">"});
  const std::string id((**read).at(0).at(1).at(0).at(0).Text());
  const auto frames = Take({"a"}, "latest", "0", "token", id);
  ASSERT_EQ(frames->size(), 1);
  EXPECT_EQ(frames->front().id, id);
  EXPECT_EQ(frames->front().seq, "");
  EXPECT_EQ(Ledger("a")["pending"], 1);
}

TEST_F(ScriptsTest, WhatABlockingReadOfAnOwnerBeforeGotComesFirst) {
  Add("a", 1);
  EXPECT_EQ(*Publish(Take({"a"}, "all")->front()), 1);
  Add("a", 2);
  const std::string key = FramesKey(0, "a");
  ASSERT_TRUE(
      redis_.Call({"XREADGROUP", "GROUP", kGroup, kConsumer, "COUNT", "1", "STREAMS", key, ">"})
          .ok());
  Add("a", 3);
  const auto read =
      redis_.Call({"XREADGROUP", "GROUP", kGroup, kConsumer, "COUNT", "1", "STREAMS", key, ">"});
  const std::string third((**read).at(0).at(1).at(0).at(0).Text());
  for (const char* seq : {"2", "3"}) {
    const auto frames = Take({"a"}, "all", "0", "token", "");
    ASSERT_EQ(frames->size(), 1);
    EXPECT_EQ(frames->front().seq, seq);
    EXPECT_EQ(*Publish(frames->front()), 1);
  }
  EXPECT_EQ(Ledger("a")["published"], 3);
}

TEST_F(ScriptsTest, ALostGroupIsMadeAgainFromTheBeginning) {
  for (int seq = 1; seq <= 3; ++seq) Add("a", seq);
  const std::string key = FramesKey(0, "a");
  const auto first = Take({"a"}, "all");
  ASSERT_TRUE(redis_.Call({"XGROUP", "DESTROY", key, kGroup}).ok());
  EXPECT_EQ(*Publish(first->front()), 0);  // it is delivered once more
  for (const char* seq : {"1", "2", "3"}) {
    const auto frames = Take({"a"}, "all");
    ASSERT_EQ(frames->size(), 1);
    EXPECT_EQ(frames->front().seq, seq);
    EXPECT_EQ(*Publish(frames->front()), 1);
    static_cast<void>(Ledger("a"));
  }
  EXPECT_EQ(Ledger("a")["published"], 3);
  EXPECT_EQ(Length(results_), 3);
  // With `latest` the frame that was in work falls out with the others.
  for (int seq = 4; seq <= 6; ++seq) Add("a", seq);
  ASSERT_EQ(Take({"a"}, "fifo")->front().seq, "4");
  ASSERT_TRUE(redis_.Call({"XGROUP", "DESTROY", key, kGroup}).ok());
  const auto latest = Take({"a"});
  EXPECT_EQ(latest->front().seq, "6");
  auto ledger = Ledger("a");
  EXPECT_EQ(ledger["produced"], 6);
  EXPECT_EQ(ledger["superseded"], 2);
}

TEST_F(ScriptsTest, AnAnswerWithoutFindingsIsPublishedAndNotStored) {
  Add("a", 1);
  const auto frames = Take({"a"});
  ASSERT_EQ(*Publish(frames->at(0), "token", ""), 1);
  EXPECT_EQ(*Publish(frames->at(0), "token", ""), 0) << "once";
  EXPECT_EQ(Ledger("a")["published"], 1);
  EXPECT_EQ(Length(results_), 0);
  EXPECT_EQ(Length(FramesKey(0, "a")), 0);
}

TEST_F(ScriptsTest, WhatTrimmingTakesFromConsumerGroupsIsCounted) {
  most_ = "100";
  for (const char* group : {"fast", "slow", "never"}) {
    ASSERT_TRUE(redis_.Call({"XGROUP", "CREATE", results_, group, "0", "MKSTREAM"}).ok());
  }
  PublishMany(199);
  Read("fast", 150, 150);
  Read("slow", 70, 60);
  EXPECT_EQ(Length(results_), 199);
  EXPECT_EQ(Lost("all"), 0);
  PublishMany(1, 200);
  EXPECT_EQ(Length(results_), 100);
  EXPECT_EQ(Lost("group:fast"), 0);
  EXPECT_EQ(Lost("group:slow"), 30 + 10) << "30 not read, 10 not acknowledged";
  EXPECT_EQ(Lost("group:never"), 100);
  EXPECT_EQ(Lost("all"), 140);

  // What is lost is lost once; a group that is gone is forgotten, and what it lost is not.
  Read("slow", 100, 100);
  ASSERT_TRUE(redis_.Call({"XGROUP", "DESTROY", results_, "never"}).ok());
  PublishMany(100, 201);
  EXPECT_EQ(Length(results_), 100);
  EXPECT_EQ(Lost("group:fast"), 50);
  EXPECT_EQ(Lost("group:slow"), 40);
  EXPECT_EQ((**redis_.Call({"HEXISTS", losses_, "group:never"})).Number(), 0);
  EXPECT_EQ(Lost("all"), 190);
}

TEST_F(ScriptsTest, ALoweredBoundOfResultsIsReachedInParts) {
  PublishMany(1'050);
  EXPECT_EQ(Length(results_), 1'050) << "a hundred at a time";
  most_ = "20";
  PublishMany(1, 1'051);
  EXPECT_EQ(Length(results_), 51);
}

TEST_F(ScriptsTest, AFrameThatWasTrimmedWhilePendingIsCounted) {
  Add("a", 1);
  ASSERT_EQ(Take({"a"})->size(), 1);
  ASSERT_TRUE(redis_.Call({"XTRIM", FramesKey(0, "a"), "MAXLEN", "0"}).ok());
  EXPECT_TRUE(Take({"a"})->empty());
  EXPECT_EQ(Ledger("a")["trimmed"], 1);
  EXPECT_EQ(Ledger("a")["pending"], 0);
}

TEST_F(ScriptsTest, FramesThatAreTooOldAreStale) {
  Add("a", 1, "e", 900'000);
  Add("a", 2, "e", 995'000);
  const auto frames = Take({"a"}, "fifo", "10000");
  ASSERT_EQ(frames->size(), 1);
  EXPECT_EQ(frames->front().seq, "2");
  auto ledger = Ledger("a");
  EXPECT_EQ(ledger["stale"], 1);
  EXPECT_EQ(ledger["pending"], 1);
}

TEST_F(ScriptsTest, ATimeThatIsNoneIsThatOfTheId) {
  const std::string key = FramesKey(0, "a");
  for (const std::string_view time : {"0", "-1", "0x10", "inf", "nan", "1e3", " 5", ""}) {
    ASSERT_TRUE(redis_.Call({"XADD", key, "*", "picture", "x", "time", time}).ok());
    const auto frames = Take({"a"}, "all", "10000");
    ASSERT_EQ(frames->size(), 1) << time;
    ASSERT_EQ(*Publish(frames->front()), 1);
  }
  ASSERT_TRUE(redis_.Call({"DEL", key}).ok());
  ASSERT_TRUE(redis_.Call({"XADD", key, "900000-0", "picture", "x"}).ok());
  EXPECT_TRUE(Take({"a"}, "all", "10000")->empty()) << "its id says that it is old";
  EXPECT_EQ(Ledger("a")["stale"], 1);
}

TEST_F(ScriptsTest, TwoProducersOfACameraCountEachForItself) {
  for (int seq = 1'000'000; seq < 1'000'010; ++seq) {
    for (const char* epoch : {"one", "two"}) {
      Add("a", seq, epoch);
      ASSERT_EQ(*Publish(Take({"a"}, "all")->front()), 1);
    }
  }
  EXPECT_EQ(Ledger("a")["trimmed"], 2 * 1'000) << "at most so many before an epoch's first";
  Add("a", 1'000'012, "one");
  ASSERT_EQ(*Publish(Take({"a"}, "all")->front()), 1);
  EXPECT_EQ(Ledger("a")["trimmed"], 2 * 1'000 + 2);
  Add("a", 1, "three");
  ASSERT_EQ(*Publish(Take({"a"}, "all")->front()), 1);
  EXPECT_EQ(Ledger("a")["produced"], 2 * 1'010 + 3 + 1);
}

TEST_F(ScriptsTest, ALedgerWithoutNumbersIsNotWrittenTo) {
  Add("a", 1);
  Add("b", 1);
  ASSERT_TRUE(redis_.Call({"HSET", ledger_, "a:published", "many"}).ok());
  ASSERT_TRUE(redis_.Call({"HSET", ledger_, "b:seq", "many", "b:epoch", "e"}).ok());
  const auto frames = Take({"a", "b"});
  ASSERT_TRUE(frames.ok()) << frames.status();
  ASSERT_EQ(frames->size(), 2);
  EXPECT_EQ((*frames)[0].what, "uncounted");
  EXPECT_EQ((*frames)[1].what, "new");
  EXPECT_EQ(Length(FramesKey(0, "a")), 1);
  EXPECT_EQ((**redis_.Call({"HEXISTS", ledger_, "a:pending"})).Number(), 0);
}

TEST_F(ScriptsTest, NoMoreBytesAreTakenThanThereIsRoomFor) {
  const std::string picture(10'000, 'x');
  for (const char* camera : {"a", "b", "c", "d"}) Add(camera, 1, "e", 0, picture);
  enough_ = "25000";
  auto frames = *Take({"a", "b", "c", "d"});
  ASSERT_EQ(frames.size(), 3);
  EXPECT_EQ(frames[1].what, "new");
  EXPECT_EQ(frames[2].what, "large") << "it waits for a call of its own";
  const int bytes = std::stoi(frames[2].seq);
  EXPECT_GT(bytes, 10'000);
  EXPECT_EQ(Ledger("c")["pending"], 1);
  enough_ = fmt::format("{}", bytes);
  frames = *Take({"c"});
  ASSERT_EQ(frames.size(), 1);
  EXPECT_EQ(frames[0].what, "claimed");
  EXPECT_EQ(frames[0].id.empty(), false);
  EXPECT_EQ(Ledger("c")["produced"], 1);
  // Names count as well, and what is given never has more bytes than are left.
  const std::string name(50'000, 'n');
  ASSERT_TRUE(redis_.Call({"XADD", FramesKey(0, "f"), "*", name, "x"}).ok());
  EXPECT_EQ(Take({"f"})->front().what, "large");
  Add("e", 1, "e", 0, std::string(1'000'001, 'x'));
  EXPECT_TRUE(Take({"e"})->empty());
  EXPECT_EQ(Ledger("e")["failed"], 1);
}

TEST_F(ScriptsTest, AKeyOfAnotherTypeStopsNothingElse) {
  ASSERT_TRUE(redis_.Call({"SET", FramesKey(0, "a"), "x"}).ok());
  Add("b", 1);
  const auto frames = Take({"a", "b"});
  ASSERT_TRUE(frames.ok()) << frames.status();
  ASSERT_EQ(frames->size(), 2);
  EXPECT_EQ((*frames)[0].what, "wrong");
  EXPECT_EQ((*frames)[1].seq, "1");
  const auto waiting =
      redis_.Run({&PeekScript(), {FramesKey(0, "a"), FramesKey(0, "b"), FramesKey(0, "c")}, {}});
  EXPECT_EQ((**waiting).at(0).Number(), -1);
  EXPECT_EQ((**waiting).at(1).Number(), 1);
  EXPECT_EQ((**waiting).at(2).Number(), 0);
}

TEST_F(ScriptsTest, ResultsOrALedgerOfAnotherTypeLoseNothing) {
  Add("a", 1);
  const auto frames = Take({"a"});
  ASSERT_TRUE(redis_.Call({"SET", results_, "x"}).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Publish(frames->front()).status()));
  ASSERT_TRUE(redis_.Call({"DEL", results_}).ok());
  EXPECT_EQ(*Publish(frames->front()), 1);
  ASSERT_TRUE(redis_.Call({"RENAME", ledger_, "aside"}).ok());
  ASSERT_TRUE(redis_.Call({"SET", ledger_, "x"}).ok());
  Add("a", 2);
  EXPECT_TRUE(absl::IsFailedPrecondition(Take({"a"}).status()));
  EXPECT_EQ(Length(FramesKey(0, "a")), 1);
}

TEST_F(ScriptsTest, DeadLettersKeepTheFrameAndTheReason) {
  Add("a", 1);
  const auto frames = Take({"a"});
  const auto blame = [&](std::string_view id, std::string_view crashes) {
    return (**redis_.Run({&BlameScript(), {lease_, ledger_}, {"token", "a", id, crashes}}))
        .Number();
  };
  EXPECT_EQ(blame(frames->front().id, "here:71@5 here:72@6 "), 2);
  EXPECT_EQ(blame(frames->front().id, "here:72@6 "), 2) << "a pool remembers the latest only";
  EXPECT_EQ(blame(frames->front().id, "there:9@7 here:72@6 "), 3) << "of another pool";
  EXPECT_EQ(*Drop(frames->front(), "failed", "it crashed"), 1);
  EXPECT_EQ(*Drop(frames->front(), "failed", "it crashed"), 0);
  EXPECT_EQ(Ledger("a")["failed"], 1);
  const auto dead = redis_.Call({"XRANGE", dead_, "-", "+"});
  ASSERT_EQ((**dead).size(), 1);
  const Reply fields = (**dead).at(0).at(1);
  EXPECT_EQ(fields.at(5).Text(), "it crashed");
  EXPECT_EQ(fields.at(7).Text(), "picture");
  Add("a", 2);
  const auto next = Take({"a"});
  EXPECT_EQ(blame(next->front().id, "here:73@9 "), 1);
}

TEST_F(ScriptsTest, ADeadLetterOfManyOrLargeFieldsIsKeptInPart) {
  const std::string key = FramesKey(0, "a");
  const std::string large(40'000, 'x');
  std::vector<std::string> names;
  for (int i = 0; i < 4'200; ++i) names.push_back(fmt::format("f{}", i));
  Arguments command = {"XADD", key, "*", "picture", large, "more", large};
  for (const std::string& name : names) command.insert(command.end(), {name, "x"});
  ASSERT_TRUE(redis_.Call(command).ok());
  const Frame frame{"a", "new", Take({"a"})->front().id, ""};
  const auto dropped = Drop(frame, "failed", "it crashed");
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_EQ(*dropped, 1);
  EXPECT_EQ(Ledger("a")["failed"], 1);
  EXPECT_EQ(Length(key), 0);
  const auto dead = redis_.Call({"XRANGE", dead_, "-", "+"});
  ASSERT_EQ((**dead).size(), 1);
  const Reply fields = (**dead).at(0).at(1);
  EXPECT_EQ(fields.size(), 6U + 2'000U);
  EXPECT_EQ(fields.at(5).Text(), "it crashed (fields left out: 3202, of 59209 bytes)");
  EXPECT_EQ(fields.at(6).Text(), "picture");
  EXPECT_EQ(fields.at(8).Text(), "f0");
}

TEST_F(ScriptsTest, DeadLettersAreBoundedByBytesTogether) {
  const std::string picture(30'000, 'x');
  for (int seq = 1; seq <= 20; ++seq) {
    Add("a", seq, "e", 0, picture);
    EXPECT_EQ(*Drop(Take({"a"})->front(), "failed", "it crashed", "200000"), 1);
  }
  EXPECT_GE(Length(dead_), 3);
  EXPECT_LE(Length(dead_), 6);
  EXPECT_EQ(Ledger("a")["failed"], 20);
}

TEST_F(ScriptsTest, WhatCannotBeStoredStaysPending) {
  Add("a", 1);
  Add("b", 1);
  const auto frames = Take({"a", "b"});
  for (const std::string& stream : {results_, dead_}) {  // no id comes after this one
    ASSERT_TRUE(
        redis_.Call({"XADD", stream, "18446744073709551615-18446744073709551615", "camera", "z"})
            .ok());
  }
  EXPECT_FALSE(Publish(frames->at(0)).ok());
  EXPECT_FALSE(Drop(frames->at(1), "failed", "it crashed").ok());
  EXPECT_EQ(Ledger("a")["pending"], 1);
  EXPECT_EQ(Ledger("b")["pending"], 1);
  ASSERT_TRUE(redis_.Call({"DEL", results_, dead_}).ok());
  EXPECT_EQ(*Publish(frames->at(0)), 1);
  EXPECT_EQ(*Publish(frames->at(0)), 0);
  EXPECT_EQ(*Drop(frames->at(1), "failed", "it crashed"), 1);
  EXPECT_EQ(*Drop(frames->at(1), "failed", "it crashed"), 0);
  EXPECT_EQ(Ledger("a")["published"], 1);
  EXPECT_EQ(Ledger("b")["failed"], 1);
}

TEST_F(ScriptsTest, ALeaseIsItsHoldersAlone) {
  EXPECT_FALSE(Acquire("other"));
  EXPECT_EQ((**redis_.Run({&RenewScript(), {lease_}, {"other", "3000"}})).Number(), 0);
  EXPECT_EQ((**redis_.Run({&ReleaseScript(), {lease_}, {"other"}})).Number(), 0);
  EXPECT_EQ((**redis_.Run({&RenewScript(), {lease_}, {"token", "50"}})).Number(), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(80));
  EXPECT_TRUE(Acquire("other"));
  EXPECT_EQ((**redis_.Run({&ReleaseScript(), {lease_}, {"other"}})).Number(), 1);
  EXPECT_TRUE(Acquire("token"));
}

TEST_F(ScriptsTest, ConsumersThatAreSilentAreForgotten) {
  const auto beat = [&](std::string_view who) {
    const auto reply = redis_.Run({&HeartbeatScript(), {kConsumers}, {who, "60"}});
    EXPECT_TRUE(reply.ok()) << reply.status();
    return (**reply).size();
  };
  EXPECT_EQ(beat("one"), 1);
  EXPECT_EQ(beat("two"), 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(beat("two"), 1);
}

class FullRedisTest : public ScriptsTest {
 protected:
  FullRedisTest() : ScriptsTest({"--maxmemory", "4mb", "--maxmemory-policy", "noeviction"}) {}
};

TEST_F(FullRedisTest, AFullRedisStopsProducersAndNotUs) {
  for (int seq = 1; seq <= 3; ++seq) Add("a", seq);
  const std::string large(100'000, 'x');
  int seq = 0;
  absl::Status full;
  while (full.ok()) {
    const std::string number = fmt::format("{}", ++seq);
    full =
        redis_.Call({"XADD", FramesKey(0, "b"), "*", "picture", large, "epoch", "e", "seq", number})
            .status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  // What the refused command itself took is free again: fill that as well.
  while (redis_.Call({"RPUSH", "list", std::string_view(large).substr(0, 200)}).ok()) {
  }
  EXPECT_TRUE(absl::IsResourceExhausted(redis_.Call({"SET", "key", "x"}).status()));
  LoseLease();
  ASSERT_TRUE(Acquire("token"));
  const auto beat = redis_.Run({&HeartbeatScript(), {kConsumers}, {"one", "1000"}});
  EXPECT_TRUE(beat.ok()) << beat.status();
  for (int i = 1; i <= 3; ++i) {
    const auto frames = Take({"a"}, "all");
    ASSERT_TRUE(frames.ok()) << frames.status();
    ASSERT_EQ(frames->size(), 1);
    ASSERT_EQ(*Publish(frames->front()), 1);
  }
  const auto frames = Take({"b"});
  ASSERT_EQ(frames->size(), 1);
  EXPECT_EQ(*Drop(frames->front(), "failed", "for once"), 1);
  EXPECT_EQ(Ledger("a")["published"], 3);
  EXPECT_EQ(Ledger("b")["superseded"], seq - 2);
}

// What a producer at twice our pace costs on the wire.
TEST_F(ScriptsTest, LatestReadsTheBytesOfTheAnsweredFramesOnly) {
  const std::string picture(20'000, 'x');
  const auto sent = [&] {
    const auto info = redis_.Call({"INFO", "stats"});
    const std::string_view text = (**info).Text();
    const std::size_t at = text.find("total_net_output_bytes:") + 23;
    return std::stoll(std::string(text.substr(at, 20)));
  };
  std::vector<std::string> cameras;
  for (int camera = 0; camera < 31; ++camera) cameras.push_back(fmt::format("cam{}", camera));
  for (const std::string& camera : cameras) {
    for (int seq = 1; seq <= 20; ++seq) Add(camera, seq, "e", 0, picture);
  }
  const auto before = sent();
  const auto frames = Take(cameras);
  ASSERT_TRUE(frames.ok()) << frames.status();
  ASSERT_EQ(frames->size(), 31);
  const auto bytes = sent() - before;
  EXPECT_LE(static_cast<double>(bytes), 1.05 * 31 * static_cast<double>(picture.size()));
}

}  // namespace
}  // namespace inferpool::streams
