#include "fcgi/pool/control.h"

#include <gtest/gtest.h>
#include <json/value.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Json::Value Command(const std::string& name) {
  Json::Value request;
  request["command"] = name;
  return request;
}

class ControlTest : public testing::Test {
 protected:
  ~ControlTest() override { StopMaster(); }

  bool Listen() {
    auto control = ControlSocket::Listen(ControlPath(folder_.path()));
    EXPECT_TRUE(control.ok()) << control.status();
    if (control.ok()) control_.emplace(*std::move(control));
    return control_.has_value();
  }

  // A master that answers every request with itself, and counts.
  void StartMaster() {
    ASSERT_TRUE(Listen());
    master_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        pollfd event{.fd = control_->fd(), .events = POLLIN, .revents = 0};
        if (poll(&event, 1, 5) <= 0) continue;
        control_->Serve([this](const Json::Value& request) {
          ++requests_;
          Json::Value answer;
          answer["echo"] = request;
          return answer;
        });
      }
    });
  }
  void StopMaster() {
    master_.request_stop();
    if (master_.joinable()) master_.join();
    control_.reset();
  }

  absl::StatusOr<Json::Value> Ask(const Json::Value& request, seconds patience = seconds(5)) {
    return AskMaster(folder_.path(), request, patience);
  }

  // A client of the socket that may say anything.
  FileDescriptor Connect() const {
    FileDescriptor fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ControlPath(folder_.path()).copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  const test::TemporaryFolder folder_;
  std::optional<ControlSocket> control_;
  std::atomic<int> requests_ = 0;
  std::jthread master_;
};

TEST_F(ControlTest, ARequestHasItsAnswer) {
  StartMaster();
  for (int i = 0; i < 5; ++i) {
    Json::Value request = Command("scale");
    request["workers"] = i;
    const auto answer = Ask(request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ((*answer)["echo"], request);
  }
  EXPECT_EQ(requests_, 5);
}

TEST_F(ControlTest, SeveralAtOnceHaveEachTheirOwn) {
  StartMaster();
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 8; ++i) {
      clients.emplace_back([&, i] {
        const auto answer = Ask(Command(std::to_string(i)));
        if (answer.ok() && (*answer)["echo"] == Command(std::to_string(i))) ++right;
      });
    }
  }
  EXPECT_EQ(right, 8);
}

TEST_F(ControlTest, WhereNoPoolRunsItIsUnavailable) {
  const auto status = Ask(Command("reload")).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_NE(std::string(Message(status)).find(folder_.path()), std::string::npos);
}

TEST_F(ControlTest, ASocketThatADeadMasterLeftIsUnavailableToo) {
  ASSERT_TRUE(Listen());
  control_.reset();
  EXPECT_TRUE(absl::IsUnavailable(Ask(Command("reload")).status()));
}

TEST_F(ControlTest, AMasterThatIsStoppedIsDeadlineExceeded) {
  ASSERT_TRUE(Listen());
  const auto start = std::chrono::steady_clock::now();
  const auto status = Ask(Command("reload"), seconds(1)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(2'500));
}

TEST_F(ControlTest, TheSocketOfOneThatIsGoneIsTakenOver) {
  test::WriteFile(ControlPath(folder_.path()), "left behind");
  StartMaster();
  EXPECT_TRUE(Ask(Command("x")).ok());
}

TEST_F(ControlTest, OnlyTheMastersUserMayOpenIt) {
  ASSERT_TRUE(Listen());
  struct stat info {};
  ASSERT_EQ(stat(ControlPath(folder_.path()).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(ControlTest, APathThatIsTooLongIsAnError) {
  const std::string path = "/tmp/" + std::string(200, 'x');
  EXPECT_FALSE(ControlSocket::Listen(path).ok());
  EXPECT_FALSE(AskMaster(path, Command("x"), seconds(1)).ok());
}

TEST_F(ControlTest, GarbageHasNoAnswerAndHarmsNobody) {
  StartMaster();
  for (const std::string& garbage :
       {std::string("not json"), std::string("[1,2]"), std::string("\"text\""), std::string("{"),
        std::string(5'000, '['), std::string(60'000, '{'), std::string("\0\0", 2)}) {
    const FileDescriptor client = Connect();
    ASSERT_EQ(send(client.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(garbage.size()));
    char byte = 0;
    EXPECT_LE(recv(client.get(), &byte, 1, 0), 0) << garbage.substr(0, 20);
  }
  EXPECT_EQ(requests_, 0) << "nobody heard of it";
  EXPECT_TRUE(Ask(Command("x")).ok());
}

TEST_F(ControlTest, AClientThatGoesAwayHarmsNobody) {
  StartMaster();
  for (int i = 0; i < 20; ++i) {
    const FileDescriptor client = Connect();
    const std::string request = R"({"command":"x"})";
    if (i % 2 == 0) send(client.get(), request.data(), request.size(), MSG_NOSIGNAL);
  }
  EXPECT_TRUE(Ask(Command("x")).ok());
}

TEST_F(ControlTest, MuteClientsKeepNobodyOutHoweverMany) {
  StartMaster();
  std::vector<FileDescriptor> mute;
  for (int i = 0; i < 100; ++i) mute.push_back(Connect());
  for (int i = 0; i < 20; ++i) {
    const auto answer = Ask(Command(std::to_string(i)));
    ASSERT_TRUE(answer.ok()) << answer.status();
  }
}

TEST_F(ControlTest, ServeNeverWaits) {
  ASSERT_TRUE(Listen());
  const FileDescriptor mute = Connect();
  const std::future<void> served = std::async(std::launch::async, [this] {
    for (int i = 0; i < 10; ++i) {
      control_->Serve([](const Json::Value&) { return Json::Value(); });
    }
  });
  EXPECT_EQ(served.wait_for(seconds(30)), std::future_status::ready);
  // Should it wait for clients, these let it end.
  while (served.wait_for(milliseconds(10)) != std::future_status::ready) Connect();
}

}  // namespace
}  // namespace inferpool::fcgi
