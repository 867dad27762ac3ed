#include "fcgi/serving/server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fcgi/pool/child.h"
#include "fcgi/pool/listener.h"
#include "fcgi/pool/worker_check.h"
#include "shared/base/log.h"
#include "shared/board/scoreboard.h"
#include "tests/unit/fcgi/wire/fastcgi_client.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/shared/board/occupied_board.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::ChildProcess;
using test::EncodeRequest;
using test::Eventually;
using test::FastCgiAnswer;
using test::FastCgiClient;

// Answers with the request's body; a path "/sleep/MS" takes that long first, "/wait" until the
// client has left.
Response Handle(const Request& request, ThreadSlot& thread_slot) {
  constexpr std::string_view kSleep = "/sleep/";
  if (request.path.starts_with(kSleep)) {
    std::this_thread::sleep_for(milliseconds(std::stoi(request.path.substr(kSleep.size()))));
  }
  if (request.path == "/wait") {
    const Deadline patience = Deadline::After(seconds(5));
    while (!request.departed.stop_requested() && !patience.Expired(Clock::now())) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    thread_slot.CountStatus(request.departed.stop_requested() ? kClientLeft : 500);
    return {};
  }
  thread_slot.CountStatus(200);
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

  WorkerContext ContextOf(int worker, int threads = kThreads) const {
    return {.pool = board_.pool(),
            .slot = board_.slot(worker),
            .thread_slots = board_.thread_slots(worker).first(static_cast<std::size_t>(threads)),
            .heavy = heavy_,
            .wakeup = wakeup_};
  }

  // A worker with `threads` threads in the scoreboard's slot `worker`.
  std::unique_ptr<ChildProcess> Worker(
      int worker, int threads = kThreads, std::uint64_t quota = 0,
      const std::function<void()>& prepare = [] {}) {
    board_.slot(worker).quota = quota;
    auto child = std::make_unique<ChildProcess>([&, this] {
      prepare();
      Prepare();
      Serve(listener_->get(), {.body_bytes = 1024 * 1024, .io = seconds(1)}, Handle,
            ContextOf(worker, threads));
      return 0;
    });
    EXPECT_TRUE(WaitFor(worker, ProcessState::kReady));
    return child;
  }

  bool WaitFor(int worker, ProcessState state) {
    return Eventually([&] { return board_.slot(worker).process.state.load() == state; });
  }
  bool WaitForBusy(std::uint64_t requests) {
    return Eventually([&] { return board_.Sum(Clock::now()).in_work == requests; });
  }

  bool HasRung() const {
    pollfd event{.fd = wakeup_.fd(), .events = POLLIN, .revents = 0};
    return poll(&event, 1, 0) == 1;
  }
  std::uint64_t CountOf(int status) const {
    const std::size_t at = HttpStatusIndex(status);
    return board_.Sum(Clock::now()).by_status[static_cast<std::size_t>(at)];
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
  const Scoreboard board_ = test::OccupiedBoard(2, kThreads);
  const HeavyWork heavy_{
      board_, {.memory_bytes = std::uint64_t{1} << 30, .processors = 2, .threads = kThreads}};
  const MasterWakeup wakeup_;
};

// A crash on the first request is one of a worker that served, which is replaced at once.
TEST_F(ServerTest, TheFirstRequestFindsAWorkerThatHasSaidThatItIsReady) {
  constexpr int kMany = 64;
  const Scoreboard board = test::OccupiedBoard(1, kMany);
  const Handler handler = [&board](const Request&, ThreadSlot&) -> Response {
    const bool ready = board.slot(0).process.state == ProcessState::kReady;
    return {.status = 200, .headers = {}, .body = ready ? "ready" : "not yet"};
  };
  for (int round = 0; round < 5; ++round) {
    FastCgiClient client = Ask("waits in the backlog");
    board.slot(0).process.state = ProcessState::kStarting;
    const ChildProcess worker([&, this] {
      Prepare();
      Serve(listener_->get(), {.body_bytes = 1024, .io = seconds(1)}, handler,
            {.pool = board.pool(),
             .slot = board.slot(0),
             .thread_slots = board.thread_slots(0),
             .heavy = heavy_,
             .wakeup = wakeup_});
      return 0;
    });
    EXPECT_TRUE(IsAnswered(client, "ready"));
  }
}

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
  EXPECT_EQ(board_.Sum(Clock::now()).by_status[0], 320U);
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
  EXPECT_NE(board_.thread_slots(0)[0].busy_since_ns.load(), 0) << "nobody waited for the slow one";
  EXPECT_TRUE(IsAnswered(slow, "slow"));
}

TEST_F(ServerTest, InWorkIsMarkedForAsLongAsARequestIs) {
  const auto worker = Worker(0);
  EXPECT_EQ(board_.Sum(Clock::now()).in_work, 0U);
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
    Serve(listener_->get(), {.body_bytes = 1, .io = seconds(1)}, Handle, ContextOf(0));
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
  EXPECT_TRUE(WaitFor(0, ProcessState::kDraining));
  FastCgiClient late = Ask("late");
  EXPECT_TRUE(IsAnswered(slow, "slow"));
  EXPECT_TRUE(IsAnswered(slower, "slower"));
  EXPECT_TRUE(first->Exited(0));
  EXPECT_EQ(board_.Sum(Clock::now()).by_status[0], 2U) << "nothing else was taken";

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

TEST_F(ServerTest, AsksToBeReplacedAfterItsQuotaAndServesOn) {
  const auto worker = Worker(0, 1, /*quota=*/5);
  wakeup_.Clear();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(board_.slot(0).due.load(), 0U) << "asked after " << i;
    EXPECT_FALSE(HasRung());
    FastCgiClient client = Ask("x");
    EXPECT_TRUE(IsAnswered(client, "x"));
  }
  EXPECT_TRUE(Eventually([&] { return board_.slot(0).due == 1; }));
  EXPECT_TRUE(Eventually([&] { return HasRung(); }));
  for (int i = 0; i < 5; ++i) {
    FastCgiClient client = Ask("y");
    EXPECT_TRUE(IsAnswered(client, "y"));
  }
  EXPECT_EQ(worker->Wait(milliseconds(0)), std::nullopt);
  EXPECT_EQ(board_.slot(0).process.state.load(), ProcessState::kReady);
}

TEST_F(ServerTest, WithoutAQuotaItNeverAsksToBeReplaced) {
  const auto worker = Worker(0, 1, /*quota=*/0);
  for (int i = 0; i < 20; ++i) {
    FastCgiClient client = Ask("x");
    EXPECT_TRUE(IsAnswered(client, "x"));
  }
  ASSERT_TRUE(Eventually([&] { return board_.Served(0) == 20; }));
  EXPECT_EQ(board_.slot(0).due.load(), 0U);
}

TEST_F(ServerTest, RingsWhenItIsReadyAndWhenItDrains) {
  const auto worker = Worker(0);
  EXPECT_TRUE(Eventually([&] { return HasRung(); }));
  wakeup_.Clear();
  worker->Signal(SIGTERM);
  EXPECT_TRUE(WaitFor(0, ProcessState::kDraining));
  EXPECT_TRUE(Eventually([&] { return HasRung(); }));
}

TEST_F(ServerTest, WhenThePoolStopsWhoWaitsInTheBacklogIsAnsweredToo) {
  const auto worker = Worker(0, 2);
  FastCgiClient slow = Ask("slow", "/sleep/200");
  FastCgiClient slower = Ask("slower", "/sleep/300");
  ASSERT_TRUE(WaitForBusy(2));
  std::vector<FastCgiClient> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(Ask(std::to_string(i)));

  board_.pool().stopping = 1;
  worker->Signal(SIGTERM);

  EXPECT_TRUE(IsAnswered(slow, "slow"));
  EXPECT_TRUE(IsAnswered(slower, "slower"));
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(IsAnswered(waiting[static_cast<std::size_t>(i)], std::to_string(i)));
  }
  EXPECT_TRUE(worker->Exited(0));
}

TEST_F(ServerTest, AnIdleWorkerLeavesAtOnceWhenThePoolStops) {
  const auto worker = Worker(0);
  board_.pool().stopping = 1;
  worker->Signal(SIGTERM);
  EXPECT_TRUE(worker->Exited(0, milliseconds(1'000)));
}

TEST_F(ServerTest, TheHandlerLearnsThatTheClientHasLeft) {
  const auto worker = Worker(0, 1);
  FastCgiClient client = Ask("x", "/wait");
  ASSERT_TRUE(WaitForBusy(1));
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_TRUE(WaitForBusy(1)) << "it waits while the client does";
  client.Close();
  EXPECT_TRUE(
      Eventually([&] { return board_.Sum(Clock::now()).in_work == 0; }, milliseconds(2'000)));
  EXPECT_EQ(CountOf(kClientLeft), 1U);
}

TEST_F(ServerTest, ARequestWhoseClientHasLeftBeforeIsNotWorkedOn) {
  const auto worker = Worker(0, 1);
  FastCgiClient slow = Ask("slow", "/sleep/200");
  ASSERT_TRUE(WaitForBusy(1));
  for (int i = 0; i < 3; ++i) {
    FastCgiClient gone = Ask("gone");
    gone.Close();
  }
  EXPECT_TRUE(IsAnswered(slow, "slow"));
  FastCgiClient after = Ask("after");
  EXPECT_TRUE(IsAnswered(after, "after"));
  EXPECT_EQ(CountOf(200), 2U);
  EXPECT_EQ(CountOf(kClientLeft), 3U);
}

TEST_F(ServerTest, OpensTheLogFileAgainOnSigusr1) {
  const std::string file = folder_ / "log";
  const auto worker = Worker(0, 1, 0, [&] { log::OpenFile(file); });
  ASSERT_TRUE(std::filesystem::exists(file));
  std::filesystem::rename(file, file + ".1");
  worker->Signal(SIGUSR1);
  EXPECT_TRUE(Eventually([&] { return std::filesystem::exists(file); }));
  FastCgiClient client = Ask("x");
  EXPECT_TRUE(IsAnswered(client, "x")) << "and serves on";
}

TEST_F(ServerTest, EveryThreadIsNamedInItsThreadSlot) {
  const auto worker = Worker(0, kThreads);
  const auto thread_slots = board_.thread_slots(0);
  ASSERT_TRUE(Eventually([&] {
    return std::ranges::all_of(
        thread_slots, [](const ThreadSlot& thread_slot) { return thread_slot.thread != 0; });
  }));
  std::set<pid_t> threads;
  for (const ThreadSlot& thread_slot : thread_slots) {
    EXPECT_TRUE(std::filesystem::exists("/proc/" + std::to_string(worker->pid()) + "/task/" +
                                        std::to_string(thread_slot.thread)));
    EXPECT_TRUE(threads.insert(thread_slot.thread).second);
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

TEST_F(ServerTest, AStoppedWorkerTakesNoRequestWithIt) {
  const auto stopped = Worker(0);
  const auto other = Worker(1);
  kill(stopped->pid(), SIGSTOP);
  EXPECT_TRUE(Eventually([&] { return IsStopped(stopped->pid()); }));
  // More than its threads could have been woken for.
  for (int i = 0; i < 2 * kThreads; ++i) {
    FastCgiClient client = Ask("picture");
    EXPECT_TRUE(IsAnswered(client, "picture")) << i;
  }
  kill(stopped->pid(), SIGCONT);
}

}  // namespace
}  // namespace inferpool::fcgi
