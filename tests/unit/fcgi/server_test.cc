#include "fcgi/server.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fcgi/child.h"
#include "fcgi/listener.h"
#include "shared/log.h"
#include "shared/scoreboard.h"
#include "tests/unit/fcgi/child_process.h"
#include "tests/unit/fcgi/fastcgi_client.h"
#include "tests/unit/shared/temporary_folder.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::ChildProcess;
using test::EncodeRequest;
using test::Eventually;
using test::FastCgiAnswer;
using test::FastCgiClient;

// Answers with the request's body; a path "/sleep/MS" takes that long first.
Response Echo(const Request& request, Lane& lane) {
  constexpr std::string_view kSleep = "/sleep/";
  if (request.path.starts_with(kSleep)) {
    std::this_thread::sleep_for(milliseconds(std::stoi(request.path.substr(kSleep.size()))));
  }
  lane.CountStatus(200);
  return {.status = 200, .headers = {}, .body = std::string(request.body)};
}

// A socket, and worker processes that serve it.
class ServerTest : public testing::Test {
 protected:
  static constexpr int kThreads = 4;

  // What a worker process does before it serves.
  static void Prepare() {
    log::Init(log::Level::kError, "test");
    BlockSignals();
    // The clients here are slower to close than nginx, and are not what is tested.
    setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "20", 1);
    InitLibrary();
  }

  // A worker with `threads` threads in the scoreboard's slot `worker`.
  std::unique_ptr<ChildProcess> Worker(
      int worker, int threads = kThreads, std::uint64_t requests = 0,
      const std::function<void()>& prepare = [] {}) {
    auto child = std::make_unique<ChildProcess>([&, this] {
      prepare();
      Prepare();
      Serve(listener_->get(),
            {.limits = {.body_bytes = 1024 * 1024, .io = seconds(1)}, .requests = requests}, Echo,
            board_.slot(worker), board_.lanes(worker).first(static_cast<std::size_t>(threads)));
      return 0;
    });
    EXPECT_TRUE(WaitFor(worker, WorkerState::kReady));
    return child;
  }

  bool WaitFor(int worker, WorkerState state) {
    return Eventually([&] { return board_.slot(worker).state.load() == state; });
  }
  bool WaitForBusy(std::uint64_t requests) {
    return Eventually([&] { return board_.Sum().in_work == requests; });
  }

  // A connection on which a request has been sent.
  FastCgiClient Ask(const std::string& body, const std::string& path = "/") {
    FastCgiClient client = FastCgiClient::Connect(path_);
    EXPECT_TRUE(client.connected());
    EXPECT_TRUE(client.Send(EncodeRequest(body, {{"REQUEST_URI", path}})));
    return client;
  }

  static testing::AssertionResult IsAnswered(FastCgiClient& client, const std::string& body,
                                             milliseconds time = milliseconds(5'000)) {
    const FastCgiAnswer answer = client.Read(time);
    if (answer.Good() && answer.Body() == body) return testing::AssertionSuccess();
    return testing::AssertionFailure()
           << "ended " << answer.ended << ", closed " << answer.closed << ", out: " << answer.out;
  }

  const test::TemporaryFolder folder_;
  const std::string path_ = folder_ / "pool.sock";
  const absl::StatusOr<FileDescriptor> listener_ = ListenUnix(path_, 511);
  const Scoreboard board_{2, kThreads};
};

TEST_F(ServerTest, AnswersARequest) {
  const auto worker = Worker(0);
  FastCgiClient client = Ask("hello");
  EXPECT_TRUE(IsAnswered(client, "hello"));
}

TEST_F(ServerTest, EveryOneOfManyConnectionsGetsItsOwnAnswer) {
  const auto worker = Worker(0);
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 16; ++i) {
      clients.emplace_back([&, i] {
        for (int j = 0; j < 20; ++j) {
          const std::string body =
              "request " + std::to_string(i) + "." + std::to_string(j) + std::string(5'000, 'x');
          FastCgiClient client = Ask(body);
          if (IsAnswered(client, body)) ++right;
        }
      });
    }
  }
  EXPECT_EQ(right, 320);
  EXPECT_EQ(board_.Sum().by_status[0], 320U);
}

TEST_F(ServerTest, TwoWorkersShareOneSocket) {
  const auto first = Worker(0);
  const auto second = Worker(1);
  std::vector<FastCgiClient> clients;
  for (int i = 0; i < 2 * kThreads; ++i) clients.push_back(Ask(std::to_string(i), "/sleep/200"));
  EXPECT_TRUE(WaitForBusy(2 * kThreads)) << "all threads of both work at once";
  for (int i = 0; i < 2 * kThreads; ++i) {
    EXPECT_TRUE(IsAnswered(clients[static_cast<std::size_t>(i)], std::to_string(i)));
  }
}

TEST_F(ServerTest, ABusyWorkerLeavesConnectionsToTheIdleOne) {
  const auto first = Worker(0, 1);
  FastCgiClient slow = Ask("slow", "/sleep/500");
  EXPECT_TRUE(WaitForBusy(1));
  const auto second = Worker(1, 1);
  for (int i = 0; i < 10; ++i) {
    FastCgiClient client = Ask("quick");
    EXPECT_TRUE(IsAnswered(client, "quick"));
  }
  EXPECT_EQ(board_.lanes(0)[0].busy.load(), 1U) << "nobody waited for the slow one";
  EXPECT_TRUE(IsAnswered(slow, "slow"));
}

TEST_F(ServerTest, InWorkIsMarkedForAsLongAsARequestIs) {
  const auto worker = Worker(0);
  EXPECT_EQ(board_.Sum().in_work, 0U);
  FastCgiClient one = Ask("1", "/sleep/150");
  FastCgiClient two = Ask("2", "/sleep/150");
  EXPECT_TRUE(WaitForBusy(2));
  EXPECT_TRUE(IsAnswered(one, "1"));
  EXPECT_TRUE(IsAnswered(two, "2"));
  EXPECT_TRUE(WaitForBusy(0));
}

TEST_F(ServerTest, AConnectionWithoutARequestHoldsOneThreadForTheIoTimeAtMost) {
  const auto worker = Worker(0, 1);
  const FastCgiClient mute = FastCgiClient::Connect(path_);
  EXPECT_TRUE(WaitForBusy(1));
  FastCgiClient client = Ask("after");
  EXPECT_TRUE(IsAnswered(client, "after", milliseconds(2'500)));
}

TEST_F(ServerTest, GarbageDoesNotHarmTheNextRequest) {
  const auto worker = Worker(0, 1);
  for (int i = 0; i < 20; ++i) {
    const FastCgiClient garbage = FastCgiClient::Connect(path_);
    garbage.Send("GET / HTTP/1.1\r\n\r\n");
    garbage.FinishSending();
    FastCgiClient client = Ask("after");
    EXPECT_TRUE(IsAnswered(client, "after"));
  }
}

TEST_F(ServerTest, PeersThatLeaveInTheMidstDoNotHarmTheNextRequest) {
  const auto worker = Worker(0, 2);
  for (int i = 0; i < 20; ++i) {
    FastCgiClient gone = Ask(std::string(100'000, 'x'), "/sleep/5");
    gone.Close();
  }
  FastCgiClient client = Ask("after");
  EXPECT_TRUE(IsAnswered(client, "after"));
}

TEST_F(ServerTest, AnIdleWorkerLeavesAtOnceOnSigterm) {
  const auto worker = Worker(0);
  worker->Signal(SIGTERM);
  EXPECT_TRUE(worker->Exited(0, milliseconds(1'000)));
}

TEST_F(ServerTest, SigtermWhileItStartsIsNotLost) {
  ChildProcess child([this] {
    Prepare();
    raise(SIGTERM);
    Serve(listener_->get(), {.limits = {.body_bytes = 1, .io = seconds(1)}}, Echo, board_.slot(0),
          board_.lanes(0));
    return 0;
  });
  EXPECT_TRUE(child.Exited(0, milliseconds(2'000)));
}

TEST_F(ServerTest, SigtermLetsItAnswerWhatItHasAcceptedAndLeavesTheRestToOthers) {
  const auto first = Worker(0, 2);
  FastCgiClient slow = Ask("slow", "/sleep/300");
  FastCgiClient slower = Ask("slower", "/sleep/400");
  ASSERT_TRUE(WaitForBusy(2));
  FastCgiClient waiting = Ask("waiting");  // both threads are busy: it stays in the backlog

  first->Signal(SIGTERM);
  EXPECT_TRUE(WaitFor(0, WorkerState::kDraining));
  FastCgiClient late = Ask("late");
  EXPECT_TRUE(IsAnswered(slow, "slow"));
  EXPECT_TRUE(IsAnswered(slower, "slower"));
  EXPECT_TRUE(first->Exited(0));
  EXPECT_EQ(board_.Sum().by_status[0], 2U) << "nothing else was taken";

  const auto second = Worker(1, 2);
  EXPECT_TRUE(IsAnswered(waiting, "waiting"));
  EXPECT_TRUE(IsAnswered(late, "late"));
}

TEST_F(ServerTest, SigtermUnderLoadLosesNothing) {
  auto worker = Worker(0);
  const auto other = Worker(1);
  std::atomic<int> wrong = 0;
  std::atomic<int> right = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      for (int j = 0; !stop; ++j) {
        const std::string body = std::to_string(i) + "." + std::to_string(j);
        FastCgiClient client = Ask(body, "/sleep/1");
        const auto answered = IsAnswered(client, body);
        ++(answered ? right : wrong);
      }
    });
  }
  std::this_thread::sleep_for(milliseconds(150));
  worker->Signal(SIGTERM);
  EXPECT_TRUE(worker->Exited(0));
  std::this_thread::sleep_for(milliseconds(100));
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right, 20);
}

TEST_F(ServerTest, EndsAfterItsQuota) {
  const auto worker = Worker(0, 1, /*requests=*/5);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(worker->Wait(milliseconds(0)), std::nullopt) << "ended after " << i;
    FastCgiClient client = Ask("x");
    EXPECT_TRUE(IsAnswered(client, "x"));
  }
  EXPECT_TRUE(worker->Exited(0));
}

TEST_F(ServerTest, WhoComesAfterTheQuotaIsAnsweredByTheNextWorker) {
  const auto first = Worker(0, 2, /*requests=*/4);
  std::vector<FastCgiClient> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(Ask(std::to_string(i)));
  EXPECT_TRUE(first->Exited(0));
  // "About": each thread may finish the request that it has in hand.
  EXPECT_GE(board_.Sum().by_status[0], 4U);
  EXPECT_LE(board_.Sum().by_status[0], 7U);
  const auto second = Worker(1);
  for (int i = 0; i < 12; ++i) {
    EXPECT_TRUE(IsAnswered(clients[static_cast<std::size_t>(i)], std::to_string(i)));
  }
}

TEST_F(ServerTest, AWorkerThatIsKilledInMidRequestClosesItsConnectionUnanswered) {
  const auto worker = Worker(0, 1);
  FastCgiClient client = Ask("x", "/sleep/5000");
  ASSERT_TRUE(WaitForBusy(1));
  worker->Signal(SIGKILL);
  const FastCgiAnswer answer = client.Read(milliseconds(2'000));
  EXPECT_TRUE(answer.closed) << "nginx must see it, to send the request again";
  EXPECT_FALSE(answer.ended);
}

// The kernel wakes one worker for a connection. When that one is about to drain and does not take
// it, the other must.
TEST_F(ServerTest, AConnectionAtTheMomentOfADrainIsTakenByTheOther) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  for (int round = 0; round < 15; ++round) {
    // The worker that leaves is woken first, and runs only when this process waits: by then it has
    // both the signal and the connection.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    const auto leaving = Worker(0, 1, 0, [] {
      const sched_param none{};
      sched_setscheduler(0, SCHED_BATCH, &none);  // preempts nobody
    });
    ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
    const auto other = Worker(1, 1);
    std::this_thread::sleep_for(milliseconds(5));  // both wait for connections
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);

    leaving->Signal(SIGTERM);
    FastCgiClient client = Ask("x");

    ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
    ASSERT_TRUE(IsAnswered(client, "x", milliseconds(1'000))) << "round " << round;
    EXPECT_TRUE(leaving->Exited(0));
    board_.Vacate(0);
    board_.Vacate(1);
  }
}

}  // namespace
}  // namespace inferpool::fcgi
