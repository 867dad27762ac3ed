#include "fcgi/serving/departure_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "shared/base/file_descriptor.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/processor_time.h"

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

TEST(DepartureWatchTest, EachThreadSlotHasItsOwn) {
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

// Holds the watching thread in what is called back for a connection.
struct Held {
  explicit Held(const std::stop_token& token)
      : callback(token, [this] {
          entered.count_down();
          let_go.wait();
        }) {}

  std::latch entered{1};
  std::latch let_go{1};
  const std::stop_callback<std::function<void()>> callback;
};

TEST(DepartureWatchTest, TheNextConnectionOfAThreadSlotIsNotStoppedByTheOneBefore) {
  DepartureWatch watch(3);
  std::array<Connection, 3> connections;
  std::vector<std::stop_token> tokens;
  for (std::size_t i = 0; i < 3; ++i) {
    tokens.push_back(watch.Begin(i, connections[i].ours.get()));
  }
  Held first(tokens[0]);
  Held second(tokens[1]);
  // While the thread is held, both others leave: it takes their marks at once, and is held again
  // between them.
  connections[0].peer.Reset();
  first.entered.wait();
  connections[1].peer.Reset();
  connections[2].peer.Reset();
  first.let_go.count_down();
  second.entered.wait();
  // Now the mark of the third one is out of date.
  watch.End(2, connections[2].ours.get());
  Connection next;
  const std::stop_token token = watch.Begin(2, next.ours.get());
  watch.End(0, connections[0].ours.get());
  Connection last;
  const std::stop_token after = watch.Begin(0, last.ours.get());
  second.let_go.count_down();
  last.peer.Reset();
  ASSERT_TRUE(Stops(after)) << "so the thread is past the mark";
  EXPECT_FALSE(token.stop_requested());
  EXPECT_FALSE(tokens[2].stop_requested()) << "its request had ended";
  next.peer.Reset();
  EXPECT_TRUE(Stops(token));
  watch.End(0, last.ours.get());
  watch.End(1, connections[1].ours.get());
  watch.End(2, next.ours.get());
}

// However long the request of a client that has left goes on.
TEST(DepartureWatchTest, WhileNothingHappensItTakesNoProcessorTime) {
  DepartureWatch watch(1);
  const auto taken = [] {
    const auto before = test::ProcessorTime();
    std::this_thread::sleep_for(milliseconds(200));
    return test::ProcessorTime() - before;
  };
  EXPECT_LT(taken(), milliseconds(20)) << "nothing is watched";
  Connection connection;
  const std::stop_token token = watch.Begin(0, connection.ours.get());
  EXPECT_LT(taken(), milliseconds(20)) << "nothing comes";
  connection.peer.Reset();
  ASSERT_TRUE(Stops(token));
  EXPECT_LT(taken(), milliseconds(20)) << "it has left";
  watch.End(0, connection.ours.get());
  EXPECT_LT(taken(), milliseconds(20)) << "it has ended";
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
