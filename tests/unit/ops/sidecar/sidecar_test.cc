#include "ops/sidecar/sidecar.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "fcgi/pool/child.h"
#include "shared/base/listen.h"
#include "shared/base/log.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/board/occupied_board.h"
#include "tests/unit/worker/backend/rpc/fake_model_server.h"
#include "tests/unit/worker/http/parsed_json.h"

namespace inferpool::ops {
namespace {

using std::chrono::milliseconds;
using test::ChildProcess;
using test::Eventually;

int PortOf(int listener) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  EXPECT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

struct HttpAnswer {
  int status = 0;
  std::string head;
  std::string body;
};

// The sidecar in a process of its own, and where the model server may come and go.
class SidecarTest : public testing::Test {
 protected:
  explicit SidecarTest(const std::vector<std::string>& sockets = {"server.sock"}) {
    for (const std::string& name : sockets) {
      config_.backend.targets.push_back("unix:" + (folder_ / name));
    }
    listener_ = std::move(*ListenTcp({.host = "127.0.0.1", .port = "0", .backlog = 8}));
    sidecar_ = std::make_unique<ChildProcess>([this] {
      log::Init(log::Level::kError, "test");
      fcgi::BlockSignals();
      return RunSidecar(config_, board_, listener_.get(), [] {});
    });
  }

  // gRPC must not be in this process: it forks.
  std::unique_ptr<ChildProcess> ModelServer(bool ready = true,
                                            const std::vector<test::FakeIndexEntry>& index = {},
                                            const std::string& socket = "server.sock") {
    return std::make_unique<ChildProcess>([=, this] {
      test::FakeModelServer server(folder_ / socket);
      server.ready = ready;
      server.SetIndex(index);
      pause();
      return 0;
    });
  }

  HttpAnswer Ask(const std::string& path, const std::string& method = "GET",
                 const std::string& body = "") const {
    const FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(PortOf(listener_.get())));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    const std::string request =
        method + " " + path + " HTTP/1.1\r\nHost: test\r\n" +
        "Connection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    std::string bytes;
    while (true) {
      pollfd event{.fd = fd.get(), .events = POLLIN, .revents = 0};
      if (poll(&event, 1, 5'000) <= 0) break;
      std::string buffer(16'384, '\0');
      const ssize_t got = recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      bytes.append(buffer, 0, static_cast<std::size_t>(got));
    }
    HttpAnswer answer;
    const std::size_t end = bytes.find("\r\n\r\n");
    if (!bytes.starts_with("HTTP/1.1 ") || end == std::string::npos) {
      ADD_FAILURE() << "no HTTP answer: " << bytes;
      return answer;
    }
    answer.status = std::stoi(bytes.substr(9, 3));
    answer.head = bytes.substr(0, end + 2);
    answer.body = bytes.substr(end + 4);
    return answer;
  }

  // /readyz answers `status` within a second, as promised (and some time for a busy machine).
  bool BecomesReady(int status) {
    return Eventually([&] { return Ask("/readyz").status == status; }, milliseconds(1'500));
  }

  const test::TemporaryFolder folder_;
  const Scoreboard board_ = test::OccupiedBoard(2, 1);
  Config config_;
  FileDescriptor listener_;
  std::unique_ptr<ChildProcess> sidecar_;
};

TEST_F(SidecarTest, IsAliveWhateverElseIsNot) {
  const HttpAnswer answer = Ask("/livez");
  EXPECT_EQ(answer.status, 200);
  test::ParseJson(answer.body);
}

TEST_F(SidecarTest, IsReadyOnlyWhileAWorkerAndTheModelServerAre) {
  HttpAnswer answer = Ask("/readyz");
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.head.find("Retry-After: "), std::string::npos) << answer.head;
  Json::Value json = test::ParseJson(answer.body);
  EXPECT_EQ(json["ready"], false);
  EXPECT_FALSE(json["workers"]["detail"].asString().empty());
  EXPECT_FALSE(json["model_server"]["detail"].asString().empty());

  board_.slot(1).process.state = ProcessState::kReady;
  const auto server = ModelServer();
  EXPECT_TRUE(BecomesReady(200));
  board_.slot(1).process.state = ProcessState::kDraining;
  answer = Ask("/readyz");
  EXPECT_EQ(answer.status, 503);
  json = test::ParseJson(answer.body);
  EXPECT_EQ(json["model_server"]["ready"], true);
  EXPECT_EQ(json["workers"]["ready"], false);

  board_.slot(1).process.state = ProcessState::kReady;
  EXPECT_EQ(Ask("/readyz").status, 200);
  server->Signal(SIGKILL);
  EXPECT_TRUE(BecomesReady(503));
  EXPECT_EQ(test::ParseJson(Ask("/readyz").body)["workers"]["ready"], true);

  const auto again = ModelServer();
  EXPECT_TRUE(BecomesReady(200));
}

TEST_F(SidecarTest, AModelServerThatHangsIsNotReady) {
  board_.slot(0).process.state = ProcessState::kReady;
  const auto server = ModelServer();
  ASSERT_TRUE(BecomesReady(200));
  server->Signal(SIGSTOP);
  EXPECT_TRUE(BecomesReady(503));
  server->Signal(SIGCONT);
  EXPECT_TRUE(BecomesReady(200));
}

TEST_F(SidecarTest, AModelServerThatSaysItIsNotReadyIsNot) {
  board_.slot(0).process.state = ProcessState::kReady;
  const auto server = ModelServer(/*ready=*/false);
  EXPECT_TRUE(Eventually(
      [&] { return Ask("/readyz").body.find("says it is not ready") != std::string::npos; }));
  EXPECT_EQ(Ask("/readyz").status, 503);
}

// A load balancer that asks must not lose a whole pool to one broken model.
TEST_F(SidecarTest, AModelServerThatServesInPartIsReadyAndThatIsSaid) {
  board_.slot(0).process.state = ProcessState::kReady;
  const auto server =
      ModelServer(/*ready=*/false, {{"faces", "1"}, {"broken", "1", "UNAVAILABLE"}});
  EXPECT_TRUE(BecomesReady(200));
  EXPECT_EQ(test::ParseJson(Ask("/readyz").body)["model_server"]["detail"],
            "ready, but not all of its models are");
}

TEST_F(SidecarTest, AModelServerThatStartsIsNotReady) {
  board_.slot(0).process.state = ProcessState::kReady;
  const auto server = ModelServer(/*ready=*/false, {{"faces", "1"}, {"large", "1", "LOADING"}});
  EXPECT_TRUE(Eventually(
      [&] { return Ask("/readyz").body.find("says it is not ready") != std::string::npos; }));
  EXPECT_FALSE(BecomesReady(200));
}

class SidecarOfTwoTest : public SidecarTest {
 protected:
  SidecarOfTwoTest() : SidecarTest({"one.sock", "two.sock", "one.sock"}) {
    board_.slot(0).process.state = ProcessState::kReady;
  }

  bool Shows(const std::string& socket, int ready) const {
    const std::string sample =
        "\ninferpool_model_server_target_ready{target=\"unix:" + (folder_ / socket) + "\"} " +
        std::to_string(ready) + "\n";
    return Eventually([&] { return Ask("/metrics").body.find(sample) != std::string::npos; });
  }
  std::string Detail() const {
    return test::ParseJson(Ask("/readyz").body)["model_server"]["detail"].asString();
  }
};

TEST_F(SidecarOfTwoTest, OneIsEnoughAndTheOtherIsNamed) {
  EXPECT_TRUE(Shows("one.sock", 0) && Shows("two.sock", 0));
  EXPECT_TRUE(Detail().starts_with("0 of 2 ready; unix:" + (folder_ / "one.sock") + ": "))
      << Detail();
  const auto two = ModelServer(/*ready=*/true, {}, "two.sock");
  EXPECT_TRUE(BecomesReady(200));
  EXPECT_TRUE(Shows("one.sock", 0) && Shows("two.sock", 1));
  EXPECT_TRUE(Detail().starts_with("1 of 2 ready; unix:" + (folder_ / "one.sock") + ": "))
      << Detail();
  const auto one = ModelServer(/*ready=*/true, {}, "one.sock");
  EXPECT_TRUE(Shows("one.sock", 1));
  EXPECT_EQ(Detail(), "2 of 2 ready");

  two->Signal(SIGSTOP);
  EXPECT_TRUE(Shows("two.sock", 0));
  EXPECT_TRUE(Shows("one.sock", 1)) << "it is asked for itself";
  EXPECT_EQ(Ask("/readyz").status, 200);
  one->Signal(SIGKILL);
  EXPECT_TRUE(BecomesReady(503));
  two->Signal(SIGCONT);
  EXPECT_TRUE(BecomesReady(200));
}

TEST_F(SidecarTest, MetricsComeFromTheScoreboard) {
  board_.thread_slots(0)[0].CountStatus(200);
  board_.thread_slots(1)[0].CountStatus(200);
  const HttpAnswer answer = Ask("/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.head.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
  EXPECT_NE(answer.body.find("inferpool_requests_total{status=\"200\"} 2\n"), std::string::npos)
      << answer.body.substr(0, 500);
}

TEST_F(SidecarTest, AnotherAddressOrMethodIsRefused) {
  EXPECT_EQ(Ask("/").status, 404);
  EXPECT_EQ(Ask("/metricsx").status, 404);
  for (const char* path : {"/livez", "/readyz", "/metrics"}) {
    EXPECT_EQ(Ask(path, "POST", "a body").status, 405) << path;
    EXPECT_EQ(Ask(path, "DELETE").status, 405) << path;
  }
  const HttpAnswer head = Ask("/livez", "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
}

TEST_F(SidecarTest, LeavesAtOnceOnSigterm) {
  EXPECT_EQ(Ask("/livez").status, 200);
  sidecar_->Signal(SIGTERM);
  EXPECT_TRUE(sidecar_->Exited(0, milliseconds(2'000)));
}

}  // namespace
}  // namespace inferpool::ops
