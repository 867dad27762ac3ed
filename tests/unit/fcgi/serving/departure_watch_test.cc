#include "fcgi/serving/departure_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "shared/base/file_descriptor.h"
#include "tests/unit/shared/base/child_process.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using test::Eventually;

struct Connection {
  FileDescriptor ours;
  FileDescriptor peer;

  Connection() {
    std::array<int, 2> pair{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    ours = FileDescriptor(pair[0]);
    peer = FileDescriptor(pair[1]);
  }
};

bool Stops(const std::stop_token& token) {
  return Eventually([&] { return token.stop_requested(); });
}
bool StaysFor(const std::stop_token& token, milliseconds time) {
  return !Eventually([&] { return token.stop_requested(); }, time);
}

TEST(DepartureWatchTest, TheTokenIsStoppedWhenTheOtherEndCloses) {
  DepartureWatch watch(1);
  Connection connection;
  const std::stop_token token = watch.Begin(0, connection.ours.get());
  EXPECT_TRUE(StaysFor(token, milliseconds(50)));
  connection.peer.Reset();
  EXPECT_TRUE(Stops(token));
  watch.End(0, connection.ours.get());
}

TEST(DepartureWatchTest, OneThatHadClosedBeforeIsNoticedToo) {
  DepartureWatch watch(1);
  Connection connection;
  connection.peer.Reset();
  const std::stop_token token = watch.Begin(0, connection.ours.get());
  EXPECT_TRUE(Stops(token));
  watch.End(0, connection.ours.get());
}

TEST(DepartureWatchTest, WhatThePeerSendsIsNoDeparture) {
  DepartureWatch watch(1);
  Connection connection;
  const std::stop_token token = watch.Begin(0, connection.ours.get());
  ASSERT_EQ(write(connection.peer.get(), "more", 4), 4);
  EXPECT_TRUE(StaysFor(token, milliseconds(50)));
  connection.peer.Reset();
  EXPECT_TRUE(Stops(token)) << "though something is still to be read";
  watch.End(0, connection.ours.get());
}

TEST(DepartureWatchTest, EachLaneHasItsOwn) {
  DepartureWatch watch(3);
  std::array<Connection, 3> connections;
  std::vector<std::stop_token> tokens;
  for (std::size_t i = 0; i < 3; ++i) {
    tokens.push_back(watch.Begin(i, connections[i].ours.get()));
  }
  connections[1].peer.Reset();
  EXPECT_TRUE(Stops(tokens[1]));
  EXPECT_TRUE(StaysFor(tokens[0], milliseconds(30)));
  EXPECT_FALSE(tokens[2].stop_requested());
  for (std::size_t i = 0; i < 3; ++i) watch.End(i, connections[i].ours.get());
}

TEST(DepartureWatchTest, AfterTheEndNothingIsNoticed) {
  DepartureWatch watch(1);
  Connection connection;
  const std::stop_token token = watch.Begin(0, connection.ours.get());
  watch.End(0, connection.ours.get());
  connection.peer.Reset();
  EXPECT_TRUE(StaysFor(token, milliseconds(50)));
}

TEST(DepartureWatchTest, TheNextConnectionOfALaneIsNotStoppedByTheOneBefore) {
  DepartureWatch watch(1);
  for (int round = 0; round < 2'000; ++round) {
    std::stop_token second;
    Connection next;
    {
      Connection connection;
      watch.Begin(0, connection.ours.get());
      connection.peer.Reset();  // its event is under way while the next one begins
      watch.End(0, connection.ours.get());
    }
    second = watch.Begin(0, next.ours.get());
    if (round % 100 == 0) usleep(1'000);
    ASSERT_FALSE(second.stop_requested()) << round;
    watch.End(0, next.ours.get());
  }
}

TEST(DepartureWatchTest, WhatIsCalledBackRunsInAnotherThreadAndMayEndTheRequest) {
  DepartureWatch watch(1);
  Connection connection;
  const std::stop_token token = watch.Begin(0, connection.ours.get());
  std::atomic<bool> called = false;
  std::thread::id thread;
  {
    const std::stop_callback callback(token, [&] {
      thread = std::this_thread::get_id();
      called = true;
    });
    connection.peer.Reset();
    EXPECT_TRUE(Eventually([&] { return called.load(); }));
  }
  EXPECT_NE(thread, std::this_thread::get_id());
  watch.End(0, connection.ours.get());
}

TEST(DepartureWatchTest, ItEndsThoughConnectionsAreStillWatched) {
  Connection connection;
  std::stop_token token;
  {
    DepartureWatch watch(1);
    token = watch.Begin(0, connection.ours.get());
  }
  connection.peer.Reset();
  EXPECT_FALSE(token.stop_requested());
}

}  // namespace
}  // namespace inferpool::fcgi
