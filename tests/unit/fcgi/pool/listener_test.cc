#include "fcgi/pool/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <string>
#include <vector>

#include "tests/unit/fcgi/wire/fastcgi_client.h"
#include "tests/unit/shared/base/child_process.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using test::FastCgiClient;
using test::TemporaryFolder;

bool CanConnect(const std::string& path) {
  return FastCgiClient::Connect(path).connected();
}

mode_t Mode(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(lstat(path.c_str(), &info), 0);
  return info.st_mode & 07777;
}

class ListenerTest : public testing::Test {
 protected:
  const TemporaryFolder folder_;
  const std::string path_ = folder_ / "pool.sock";
};

TEST_F(ListenerTest, ListensOnThePath) {
  const auto listener = ListenUnix(path_, 16);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(ListenerTest, OnlyOwnerAndGroupMayConnectWhateverTheUmask) {
  for (const mode_t mask : {0022U, 0077U, 0000U}) {
    const mode_t before = umask(mask);
    {
      const auto listener = ListenUnix(path_, 16);
      ASSERT_TRUE(listener.ok());
      EXPECT_EQ(Mode(path_), 0660U) << "umask " << mask;
    }
    EXPECT_EQ(umask(before), mask) << "the process's umask is left as it was";
  }
}

TEST_F(ListenerTest, IsNonBlockingAndClosedOnExec) {
  const auto listener = ListenUnix(path_, 16);
  ASSERT_TRUE(listener.ok());
  EXPECT_TRUE(fcntl(listener->get(), F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(fcntl(listener->get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_LT(accept(listener->get(), nullptr, nullptr), 0);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(ListenerTest, ReplacesTheSocketOfADeadPool) {
  ASSERT_TRUE(ListenUnix(path_, 16).ok());  // closed at once, the file stays
  ASSERT_EQ(access(path_.c_str(), F_OK), 0);
  ASSERT_FALSE(CanConnect(path_));
  const auto listener = ListenUnix(path_, 16);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(ListenerTest, ALiveSocketIsAlreadyExistsAndGoesOn) {
  const auto first = ListenUnix(path_, 16);
  ASSERT_TRUE(first.ok());
  const auto second = ListenUnix(path_, 16);
  EXPECT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
  EXPECT_NE(std::string(Message(second.status())).find(path_), std::string::npos);
  EXPECT_TRUE(CanConnect(path_));
}

// A pool that is so busy that its backlog is full is alive all the more.
TEST_F(ListenerTest, ALiveSocketWithAFullBacklogIsAlreadyExistsAtOnce) {
  const auto first = ListenUnix(path_, 1);
  ASSERT_TRUE(first.ok());
  std::vector<FileDescriptor> waiting;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  while (true) {
    FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) break;
    waiting.push_back(std::move(fd));
    ASSERT_LT(waiting.size(), 100U);
  }
  ASSERT_EQ(errno, EAGAIN) << "the backlog is not full";

  test::ChildProcess second(
      [this] { return absl::IsAlreadyExists(ListenUnix(path_, 16).status()) ? 0 : 1; });
  EXPECT_TRUE(second.Exited(0)) << "it waits for room in the backlog";
  EXPECT_EQ(access(path_.c_str(), F_OK), 0);
}

TEST_F(ListenerTest, DoesNotTouchAFileThatIsNoSocket) {
  test::WriteFile(path_, "precious");
  const auto listener = ListenUnix(path_, 16);
  EXPECT_FALSE(listener.ok());
  EXPECT_FALSE(absl::IsAlreadyExists(listener.status())) << "nobody listens on it";
  EXPECT_EQ(test::ReadFile(path_), "precious");
}

TEST_F(ListenerTest, DoesNotTouchAFolder) {
  EXPECT_FALSE(ListenUnix(folder_.path(), 16).ok());
  EXPECT_TRUE(std::filesystem::is_directory(folder_.path()));
}

TEST_F(ListenerTest, DoesNotFollowASymbolicLinkToAFile) {
  test::WriteFile(folder_ / "precious", "precious");
  std::filesystem::create_symlink(folder_ / "precious", path_);
  EXPECT_FALSE(ListenUnix(path_, 16).ok());
  EXPECT_EQ(test::ReadFile(folder_ / "precious"), "precious");
}

TEST_F(ListenerTest, APathThatFitsNoAddressIsAnErrorThatNamesIt) {
  const std::string fits = folder_ / std::string(107 - folder_.path().size() - 1, 's');
  EXPECT_TRUE(ListenUnix(fits, 16).ok());
  const auto listener = ListenUnix(fits + "s", 16);
  ASSERT_FALSE(listener.ok());
  EXPECT_NE(std::string(Message(listener.status())).find(fits), std::string::npos);
  EXPECT_NE(access(fits.c_str(), F_OK), -1) << "the neighbour with the shorter name is left alone";
}

TEST_F(ListenerTest, AFolderThatIsMissingIsAnErrorThatSaysSo) {
  const auto listener = ListenUnix(folder_ / "none/pool.sock", 16);
  ASSERT_FALSE(listener.ok());
  EXPECT_NE(std::string(Message(listener.status())).find("No such file"), std::string::npos);
}

TEST_F(ListenerTest, TheBacklogIsBounded) {
  const auto listener = ListenUnix(path_, 3);
  ASSERT_TRUE(listener.ok());
  int connected = 0;
  std::array<FileDescriptor, 20> clients;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  for (FileDescriptor& client : clients) {
    client = FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    connected +=
        connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0
            ? 1
            : 0;
  }
  EXPECT_GE(connected, 3);
  EXPECT_LE(connected, 5);
}

// A free port is what the kernel gives to a socket that asks for none.
int PortOf(const FileDescriptor& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  EXPECT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  // Of both families the port stands at the same place.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

bool CanConnectTcp(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const FileDescriptor client(socket(AF_INET, SOCK_STREAM, 0));
  return connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

TEST_F(ListenerTest, APathMakesAUnixSocket) {
  const auto listener = Listen(path_, 16);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(CanConnect(path_));
}

TEST(TcpListenerTest, ListensOnTheAddressNonBlockingAndClosedOnExec) {
  const auto listener = Listen("tcp:127.0.0.1:0", 16);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(CanConnectTcp(PortOf(*listener)));
  EXPECT_NE(fcntl(listener->get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(listener->get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(TcpListenerTest, AnswersDoNotWaitForAcknowledgements) {
  const auto listener = Listen("tcp:127.0.0.1:0", 16);
  ASSERT_TRUE(listener.ok());
  ASSERT_TRUE(CanConnectTcp(PortOf(*listener)));
  const FileDescriptor accepted(accept(listener->get(), nullptr, nullptr));
  int on = 0;
  socklen_t size = sizeof(on);
  ASSERT_EQ(getsockopt(accepted.get(), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
  EXPECT_NE(on, 0);
}

TEST(TcpListenerTest, APortInUseIsSaidSo) {
  const auto first = Listen("tcp:127.0.0.1:0", 16);
  ASSERT_TRUE(first.ok());
  const auto second = Listen("tcp:127.0.0.1:" + std::to_string(PortOf(*first)), 16);
  EXPECT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
}

TEST(TcpListenerTest, AnAddressThatIsNotOursIsAnError) {
  EXPECT_FALSE(Listen("tcp:192.0.2.1:9000", 16).ok());
  EXPECT_FALSE(Listen("tcp:localhost.example:9000", 16).ok()) << "names are not looked up";
}

TEST(TcpListenerTest, Ipv6DoesNotTakeIpv4sPort) {
  const auto ipv6 = Listen("tcp:[::]:0", 16);
  ASSERT_TRUE(ipv6.ok()) << ipv6.status() << "; does this kernel know IPv6?";
  EXPECT_FALSE(CanConnectTcp(PortOf(*ipv6)));
}

}  // namespace
}  // namespace inferpool::fcgi
