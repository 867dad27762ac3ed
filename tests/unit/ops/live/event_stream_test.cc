#include "ops/live/event_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <vector>

namespace inferpool::live {
namespace {

using std::chrono::milliseconds;

Answer Make(std::uint64_t id, bool has_findings = true) {
  return {.id = {id, 0}, .camera = "a", .has_findings = has_findings, .json = "{}"};
}

// A connection, one end of which is the client's.
class Connection {
 public:
  Connection() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()), 0); }
  ~Connection() {
    for (const int end : ends_) close(end);
  }
  int ours() const { return ends_[0]; }
  void Leave() const { shutdown(ends_[1], SHUT_RDWR); }

 private:
  std::array<int, 2> ends_{};
};

class EventStreamTest : public testing::Test {
 protected:
  EventStream Start(EventStream::Options options) {
    auto listener = listeners_.Join("a", "", options.findings_only);
    return {*std::move(listener), std::move(options)};
  }
  void Put(std::uint64_t id) { listeners_.Put(std::make_shared<const Answer>(Make(id))); }

  Listeners listeners_;
  Connection connection_;
};

TEST_F(EventStreamTest, EventsAsTheyCome) {
  EventStream stream = Start({});
  EXPECT_EQ(stream.Next(connection_.ours()), "retry: 1000\n\n");
  Put(7);
  EXPECT_EQ(stream.Next(connection_.ours()), "id: 7-0\ndata: {}\n\n");
  Put(8);
  Put(9);
  EXPECT_EQ(stream.Next(connection_.ours()), "id: 8-0\ndata: {}\n\nid: 9-0\ndata: {}\n\n");
}

TEST_F(EventStreamTest, EventsAreCounted) {
  LiveCounts counts{};
  EventStream stream = Start({.counts = &counts});
  stream.Next(connection_.ours());
  Put(8);
  Put(9);
  stream.Next(connection_.ours());
  EXPECT_EQ(counts.events, 2U);
  EXPECT_EQ(counts.too_slow, 0U);
  for (std::uint64_t id = 10; id <= 10 + Listener::kMaxQueued; ++id) Put(id);
  stream.Next(connection_.ours());
  EXPECT_EQ(counts.events, 2U + Listener::kMaxQueued);
  EXPECT_EQ(counts.too_slow, 1U);
}

TEST_F(EventStreamTest, AHeartbeatWhenNothingComes) {
  EventStream stream = Start({.heartbeat = milliseconds(20)});
  stream.Next(connection_.ours());
  EXPECT_EQ(stream.Next(connection_.ours()), ": still here\n\n");
  EXPECT_EQ(stream.Next(connection_.ours()), ": still here\n\n");
}

TEST_F(EventStreamTest, WhoMayNotStayIsLetGoAtAHeartbeat) {
  bool may_stay = true;
  EventStream stream = Start({.may_stay = [&] { return may_stay; }, .heartbeat = milliseconds(20)});
  stream.Next(connection_.ours());
  EXPECT_EQ(stream.Next(connection_.ours()), ": still here\n\n");
  may_stay = false;
  EXPECT_NE(stream.Next(connection_.ours())->find("API key"), std::string::npos);
  EXPECT_EQ(stream.Next(connection_.ours()), std::nullopt);
}

TEST_F(EventStreamTest, AClientThatLeavesIsNoticedAtOnce) {
  EventStream stream = Start({});
  stream.Next(connection_.ours());
  connection_.Leave();
  EXPECT_EQ(stream.Next(connection_.ours()), std::nullopt);
}

TEST_F(EventStreamTest, ASlowClientIsDroppedWithAComment) {
  EventStream stream = Start({});
  stream.Next(connection_.ours());
  for (std::uint64_t i = 1; i <= 2 * Listener::kMaxQueued; ++i) Put(i);
  const std::string text = *stream.Next(connection_.ours());
  EXPECT_NE(text.find("id: 64-0\n"), std::string::npos);
  EXPECT_EQ(text.find("id: 65-0\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with(": too slow: come again, from the last event on\n\n")) << text;
  EXPECT_EQ(stream.Next(connection_.ours()), std::nullopt);
}

TEST_F(EventStreamTest, TheEndOfTheProcessIsSaid) {
  EventStream stream = Start({});
  stream.Next(connection_.ours());
  Put(1);
  listeners_.End();
  EXPECT_EQ(stream.Next(connection_.ours()),
            "id: 1-0\ndata: {}\n\n: come again: this process is replaced\n\n");
  EXPECT_EQ(stream.Next(connection_.ours()), std::nullopt);
}

TEST_F(EventStreamTest, WhatWasMissedComesFirstAndNothingTwice) {
  std::vector<EntryId> asked;
  EventStream stream = Start({.after = EntryId{3, 0}, .read_history = [&](EntryId after) {
                                asked.push_back(after);
                                // It comes while the history is read, which has it too.
                                if (asked.size() == 2) {
                                  Put(6);
                                  Put(7);
                                }
                                HistoryPage page{.answers = {Make(after.ms + 1)},
                                                 .last = {after.ms + 2, 0},
                                                 .is_last = asked.size() == 2,
                                                 .is_incomplete = asked.size() == 1};
                                return page;
                              }});
  Put(4);
  EXPECT_EQ(stream.Next(connection_.ours()), "retry: 1000\n\n");
  EXPECT_EQ(stream.Next(connection_.ours()),
            ": older answers are not kept any more\n\nid: 4-0\ndata: {}\n\n");
  EXPECT_EQ(stream.Next(connection_.ours()), "id: 6-0\ndata: {}\n\n");
  Put(8);
  EXPECT_EQ(stream.Next(connection_.ours()), "id: 8-0\ndata: {}\n\n") << "6 and 7 had been read";
  EXPECT_EQ(asked, (std::vector<EntryId>{{3, 0}, {5, 0}}));
}

TEST_F(EventStreamTest, OfTheHistoryOnlyFindingsToo) {
  EventStream stream = Start(
      {.findings_only = true, .after = EntryId{1, 0}, .read_history = [](EntryId) {
         return HistoryPage{.answers = {Make(2, false), Make(3), Make(4, false)}, .last = {4, 0}};
       }});
  stream.Next(connection_.ours());
  EXPECT_EQ(stream.Next(connection_.ours()), "id: 3-0\ndata: {}\n\n");
}

TEST_F(EventStreamTest, AHistoryThatCannotBeReadIsTriedAgain) {
  int tries = 0;
  EventStream stream =
      Start({.after = EntryId{1, 0}, .read_history = [&](EntryId) -> absl::StatusOr<HistoryPage> {
               if (++tries == 1) return absl::UnavailableError("away");
               return HistoryPage{.answers = {Make(2)}, .last = {2, 0}};
             }});
  stream.Next(connection_.ours());
  Put(2);  // wakes the pause
  EXPECT_TRUE(stream.Next(connection_.ours())->starts_with(": "));
  EXPECT_EQ(stream.Next(connection_.ours()), "id: 2-0\ndata: {}\n\n");
}

}  // namespace
}  // namespace inferpool::live
