// backend::Client and a model server that comes and goes, each in a process of its own: a server in
// the client's process would poll the client's connections for it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/temporary_folder.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"
#include "worker/backend/rpc/client.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::ChildProcess;
using test::Eventually;

// How long a server may be back before the client finds it, and much time for a busy machine: gRPC
// of itself takes up to two minutes.
constexpr milliseconds kFound{1'000};
constexpr milliseconds kSlack{10'000};

// What the processes tell each other.
struct Shared {
  std::atomic<int> servers_up;     // that have been started so far
  std::atomic<int> calls_refused;  // by a server that is away
  std::atomic<bool> was_connected;
  std::atomic<bool> all_connected;
  std::atomic<bool> enough;
};

class ClientReconnectTest : public testing::Test {
 protected:
  ClientReconnectTest() {
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared_ = new (memory) Shared{};
  }
  ~ClientReconnectTest() override { munmap(shared_, sizeof(Shared)); }

  std::unique_ptr<ChildProcess> Server() { return Server(path_); }
  std::unique_ptr<ChildProcess> Server(const std::string& path) {
    const int before = shared_->servers_up;
    auto server = std::make_unique<ChildProcess>([this, path] {
      const test::FakeModelServer fake(path);
      ++shared_->servers_up;
      pause();
      return 0;
    });
    EXPECT_TRUE(Eventually([&] { return shared_->servers_up > before; }));
    return server;
  }

  // A process with a client; `body` returns what its exit status is.
  std::unique_ptr<ChildProcess> WithClient(const std::function<int(const Client&)>& body) {
    return WithClient({path_}, body);
  }
  std::unique_ptr<ChildProcess> WithClient(const std::vector<std::string>& paths,
                                           const std::function<int(const Client&)>& body) {
    return std::make_unique<ChildProcess>([paths, body]() -> int {
      std::vector<std::string> targets;
      for (const std::string& path : paths) targets.push_back("unix:" + path);
      const Client client(targets, 16);
      _exit(body(client));  // the channel's destruction is not what is tested
    });
  }

  // One question, as the sidecar asks it.
  bool Ask(const Client& client) const {
    const absl::Status status = client.ServerReady(Deadline::After(milliseconds(500)));
    if (absl::IsUnavailable(status)) ++shared_->calls_refused;
    return status.ok();
  }

  static void Sleep(milliseconds time) { std::this_thread::sleep_for(time); }

  const test::TemporaryFolder folder_;
  const std::string path_ = folder_ / "server.sock";
  const std::string other_path_ = folder_ / "other.sock";
  Shared* shared_ = nullptr;
};

TEST_F(ClientReconnectTest, ACallNowAndThenFindsAServerThatCameLate) {
  const auto client = WithClient([this](const Client& c) {
    while (!Ask(c)) Sleep(milliseconds(250));
    return 0;
  });
  ASSERT_TRUE(Eventually([&] { return shared_->calls_refused >= 2; }));
  const auto server = Server();
  EXPECT_TRUE(client->Exited(0, kFound + kSlack));
}

TEST_F(ClientReconnectTest, TheFirstCallAfterALongSilenceFindsAServerThatCameMeanwhile) {
  const auto client = WithClient([this](const Client& c) {
    if (Ask(c)) return 2;
    while (shared_->servers_up == 0) Sleep(milliseconds(1));
    Sleep(kFound + milliseconds(400));
    return Ask(c) ? 0 : 1;
  });
  ASSERT_TRUE(Eventually([&] { return shared_->calls_refused == 1; }));
  Sleep(milliseconds(300));
  const auto server = Server();
  EXPECT_TRUE(client->Exited(0));
}

TEST_F(ClientReconnectTest, AServerThatWasKilledIsFoundAgain) {
  auto server = Server();
  const auto client = WithClient([this](const Client& c) {
    if (!Ask(c)) return 2;
    shared_->was_connected = true;
    while (Ask(c)) Sleep(milliseconds(20));
    while (!Ask(c)) Sleep(milliseconds(250));
    return 0;
  });
  ASSERT_TRUE(Eventually([&] { return shared_->was_connected.load(); }));
  server->Signal(SIGKILL);
  // Long enough for the pauses between attempts to have grown to their bound.
  ASSERT_TRUE(Eventually([&] { return shared_->calls_refused >= 5; }));
  server = Server();
  EXPECT_TRUE(client->Exited(0, kFound + kSlack));
}

TEST_F(ClientReconnectTest, CallsDoNotWaitWhileTheServerIsAway) {
  const auto client = WithClient([](const Client& c) {
    const TimePoint start = Clock::now();
    for (int i = 0; i < 10; ++i) {
      if (!absl::IsUnavailable(c.ServerReady(Deadline::After(seconds(20))))) return 1;
      Sleep(milliseconds(20));
    }
    return Clock::now() - start < seconds(15) ? 0 : 2;
  });
  EXPECT_TRUE(client->Exited(0));
}

TEST_F(ClientReconnectTest, AServerThatHangsIsTooSlowAndThenGoesOn) {
  const auto server = Server();
  const auto client = WithClient([this, &server](const Client& c) {
    if (!Ask(c)) return 2;
    server->Signal(SIGSTOP);
    // It may answer a little longer: kill() does not wait until all its threads have stopped.
    absl::Status status;
    TimePoint start;
    do {
      start = Clock::now();
      status = c.ServerReady(Deadline::After(milliseconds(200)));
    } while (status.ok());
    if (!absl::IsDeadlineExceeded(status)) return 3;
    if (Clock::now() - start > kSlack) return 4;
    server->Signal(SIGCONT);
    return c.ServerReady(Deadline::After(seconds(20))).ok() ? 0 : 5;
  });
  EXPECT_TRUE(client->Exited(0));
}

TEST_F(ClientReconnectTest, AnOpenBreakerLetsCallsThroughWithinASecondOfTheServersReturn) {
  auto server = Server();
  const auto client = WithClient([this](const Client& c) {
    const auto call = [&c] { return c.ServerMetadata({Deadline::After(seconds(5))}).ok(); };
    if (!call()) return 2;
    shared_->was_connected = true;
    while (c.State(0).breaker == Breaker::State::kClosed) call();
    ++shared_->calls_refused;
    while (!call()) Sleep(milliseconds(1));
    return 0;
  });
  ASSERT_TRUE(Eventually([&] { return shared_->was_connected.load(); }));
  server->Signal(SIGKILL);
  ASSERT_TRUE(Eventually([&] { return shared_->calls_refused == 1; }));
  Sleep(milliseconds(700));  // the pauses between attempts grow to their bound
  server = Server();
  EXPECT_TRUE(client->Exited(0, kFound + kSlack));
}

TEST_F(ClientReconnectTest, OfTwoServersOneMayDieAtAnyTime) {
  auto first = Server(path_);
  auto second = Server(other_path_);
  const auto client = WithClient({path_, other_path_}, [this](const Client& c) {
    std::atomic<int> failures = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
          while (!shared_->enough) {
            failures += c.ServerMetadata({Deadline::After(seconds(20))}).ok() ? 0 : 1;
            shared_->all_connected = c.State(0).may_connect && c.State(1).may_connect;
            Sleep(milliseconds(1));
          }
        });
      }
    }
    return std::min(failures.load(), 100);
  });
  for (int i = 0; i < 3; ++i) {
    for (auto* server : {&first, &second}) {
      ASSERT_TRUE(Eventually([&] { return shared_->all_connected.load(); }));
      Sleep(milliseconds(100));  // for some calls
      (*server)->Signal(SIGKILL);
      ASSERT_TRUE(Eventually([&] { return !shared_->all_connected; }));
      *server = Server(server == &first ? path_ : other_path_);
    }
  }
  shared_->enough = true;
  EXPECT_TRUE(client->Exited(0));
}

TEST_F(ClientReconnectTest, OfTwoServersOneMayHang) {
  const auto first = Server(path_);
  const auto second = Server(other_path_);
  const auto client = WithClient({path_, other_path_}, [&first](const Client& c) {
    const auto call = [&c] { return c.ServerMetadata({Deadline::After(seconds(60))}).ok(); };
    for (int i = 0; i < 4; ++i) {
      if (!call()) return 2;
    }
    first->Signal(SIGSTOP);
    while (c.State(0).breaker != Breaker::State::kOpen) {
      if (!call()) return 3;
    }
    first->Signal(SIGCONT);
    while (c.State(0).breaker != Breaker::State::kClosed) {
      if (!call()) return 4;
    }
    return 0;
  });
  EXPECT_TRUE(client->Exited(0, seconds(60)));
}

}  // namespace
}  // namespace inferpool::backend
