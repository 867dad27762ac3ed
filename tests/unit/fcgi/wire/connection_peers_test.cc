// Peers that are slow, leave, or send what no web server would.
#include "fcgi/wire/connection.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/fcgi/wire/connection_fixture.h"
#include "tests/unit/fcgi/wire/fastcgi_client.h"
#include "tests/unit/shared/base/child_process.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Bytes;
using test::EncodeBegin;
using test::EncodeParameters;
using test::EncodeRequest;
using test::EncodeStream;
using test::FastCgiAnswer;
using test::FastCgiClient;
using test::kLimits;
using test::kSlack;
using test::Msec;
using test::Parameters;
using test::Record;

class ConnectionPeersTest : public test::ConnectionFixture {};

// A peer that sends `bytes`, takes no answer and keeps its end open.
struct SlowPeer {
  std::string name;
  std::string bytes;
  Clock::duration took{};  // until the connection was done with it
  absl::Status read{};
  absl::Status body{};
  bool written = false;
};

// All at once: each waits for the io time.
TEST_F(ConnectionPeersTest, ASlowPeerIsGivenUpAfterTheIoTime) {
  const std::string whole = EncodeRequest(Bytes(100));
  std::array<SlowPeer, 4> peers = {
      {{.name = "mute", .bytes = ""},
       {.name = "pauses in its parameters", .bytes = whole.substr(0, 40)},
       {.name = "pauses in its body", .bytes = whole.substr(0, whole.size() - 20)},
       {.name = "takes no answer", .bytes = whole}}};
  Response response;
  response.body = Bytes(4'000'000);
  std::vector<std::thread> threads;
  for (SlowPeer& peer : peers) {
    threads.emplace_back([&peer, &response] {
      std::array<int, 2> pair{};
      ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
      const FastCgiClient client(FileDescriptor{pair[1]});
      client.Send(peer.bytes);
      const TimePoint start = Clock::now();
      {
        Connection connection(FileDescriptor{pair[0]}, kLimits);
        const auto request = test::ReadRequest(connection);
        peer.read = request.status();
        if (request.ok()) {
          peer.body = request->body_status;
          peer.written = connection.Write(peer.body.ok() ? response : Response{});
        }
      }
      peer.took = Clock::now() - start;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const SlowPeer& peer : peers) {
    SCOPED_TRACE(peer.name);
    EXPECT_GE(peer.took, kLimits.io);
    EXPECT_LT(peer.took, kLimits.io + kSlack);
  }
  EXPECT_TRUE(absl::IsUnavailable(peers[0].read)) << peers[0].read;
  EXPECT_TRUE(absl::IsUnavailable(peers[1].read)) << peers[1].read;
  EXPECT_TRUE(absl::IsDataLoss(peers[2].body)) << peers[2].body;
  EXPECT_TRUE(peers[3].body.ok()) << peers[3].body;
  EXPECT_FALSE(peers[3].written);
}

TEST_F(ConnectionPeersTest, AClientThatHadLeftBeforeIsCancelledWhateverItSent) {
  for (const std::string& bytes :
       {std::string(), EncodeRequest("body"), EncodeRequest("body").substr(0, 30)}) {
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    FastCgiClient client(FileDescriptor{pair[1]});
    ASSERT_TRUE(client.Send(bytes));
    client.Close();
    Connection connection(FileDescriptor{pair[0]}, kLimits);
    const absl::Status status = test::ReadRequest(connection).status();
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
  }
}

TEST_F(ConnectionPeersTest, APeerThatLeavesInTheMidstIsUnavailable) {
  Peer([this](FastCgiClient& client) {
    client.Send(EncodeRequest("body").substr(0, 30));
    reading_.wait(false);
    std::this_thread::sleep_for(milliseconds(30));
    client.Close();
  });
  EXPECT_TRUE(absl::IsUnavailable(Serve().status()));
}

TEST_F(ConnectionPeersTest, APeerThatIsGoneBeforeTheAnswerDoesNotHarmTheProcess) {
  client_.Send(EncodeRequest("body"));
  Connection connection(std::move(server_), kLimits);
  const auto request = test::ReadRequest(connection);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->body, "body");
  client_.Close();
  Response response;
  response.body = Bytes(1'000'000);
  EXPECT_FALSE(connection.Write(response));
}

class GarbageTest : public ConnectionPeersTest, public testing::WithParamInterface<std::string> {};

TEST_P(GarbageTest, IsUnavailable) {
  EXPECT_TRUE(absl::IsUnavailable(Read(GetParam()).status()));
  EXPECT_EQ(answer_.out, "") << "there is nobody to answer";
}

INSTANTIATE_TEST_SUITE_P(ConnectionPeersTest, GarbageTest,
                         testing::Values("GET / HTTP/1.1\r\nHost: x\r\n\r\n", std::string(3, '\1'),
                                         Bytes(5'000, 7), std::string(100'000, '\xff'),
                                         // another version of the protocol
                                         Encode(Record::kBegin, std::string("\0\1\0\0\0\0\0\0", 8),
                                                0, 1, 9),
                                         // parameters of a request that was not begun
                                         Encode(Record::kParams, "") + Encode(Record::kStdin, ""),
                                         // cut in the parameters
                                         EncodeBegin() + Encode(Record::kParams, "\x0e\x03REQUEST"),
                                         // a begin that is too short
                                         Encode(Record::kBegin, "abc")));

// In a process of its own: libfcgi has crashed on these (CVE-2025-23016), and aborts when there is
// not as much memory as a length claims.
class HugeParameterTest : public testing::TestWithParam<std::string> {};

TEST_P(HugeParameterTest, IsUnavailable) {
  test::ChildProcess child([] {
    InitLibrary();
    std::array<int, 2> pair{};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) != 0) return 2;
    const FastCgiClient client(FileDescriptor{pair[1]});
    client.Send(EncodeBegin() + Encode(Record::kParams, GetParam() + "name") +
                Encode(Record::kParams, "") + Encode(Record::kStdin, ""));
    Connection connection(FileDescriptor{pair[0]}, kLimits);
    return absl::IsUnavailable(test::ReadRequest(connection).status()) ? 0 : 1;
  });
  EXPECT_TRUE(child.Exited(0));
}

INSTANTIATE_TEST_SUITE_P(ConnectionPeersTest, HugeParameterTest,
                         testing::Values("\xff\xff\xff\xff\x7f", "\xff\xff\xff\xff\xff\xff\xff\xff",
                                         "\xff\xff\xff\xf0\xff\xff\xff\xf0",
                                         "\xc0\x01\x01\x01\xbf\x01\x01\x01",
                                         "\xff\xff\xff\xfd\x01"));

TEST_F(ConnectionPeersTest, ParametersUpTo64KiBAreTaken) {
  Peer([](FastCgiClient& client) {
    client.Send(EncodeRequest("body", {{"REQUEST_URI", std::string(65'000, 'u')}}));
    client.Read();
  });
  const auto request = Serve();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->path.size(), 65'000U);
  EXPECT_EQ(request->body, "body");
}

TEST_F(ConnectionPeersTest, MoreThan64KiBOfParametersAreUnavailable) {
  for (const std::size_t bytes : {66'000U, 300'000U}) {
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    FastCgiClient client(FileDescriptor{pair[1]});
    std::thread peer([&] {
      client.Send(EncodeRequest("body", {{"REQUEST_URI", std::string(bytes, 'u')}}));
    });
    {
      Connection connection(FileDescriptor{pair[0]}, kLimits);
      EXPECT_TRUE(absl::IsUnavailable(test::ReadRequest(connection).status())) << bytes;
    }
    peer.join();
  }
}

TEST_F(ConnectionPeersTest, ManySmallParametersCountToo) {
  Parameters many;
  for (int i = 0; i < 6'000; ++i) many.emplace_back("NAME" + std::to_string(i), "value");
  EXPECT_TRUE(absl::IsUnavailable(Read(EncodeRequest("body", many)).status()));
}

// Whatever bytes come, reading ends, and a body that is OK has the announced length. (Below 128:
// see HugeParameterTest for lengths of four bytes.)
TEST_F(ConnectionPeersTest, DamagedRequestsNeverHangOrCrash) {
  const std::string good =
      EncodeRequest("0123456789", {{"CONTENT_TYPE", "image/png"}, {"REMOTE_ADDR", "::1"}});
  std::mt19937 random(20'261'121);
  const auto below = [&random](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  int too_late = 0;  // rounds that this test has lost, on a busy machine
  for (int round = 0; round < 400; ++round) {
    std::string bytes = good;
    for (std::size_t i = 0; i <= below(3); ++i) {
      const std::size_t at = below(bytes.size());
      switch (below(3)) {
        case 0:
          bytes[at] = static_cast<char>(below(128));
          break;
        case 1:
          bytes.erase(at, 1 + below(12));
          break;
        default:
          bytes.insert(at, std::string(1 + below(12), static_cast<char>(below(128))));
          break;
      }
      if (bytes.empty()) bytes = "x";
    }
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    const FastCgiClient client(FileDescriptor{pair[1]});
    ASSERT_TRUE(client.Send(bytes));
    std::jthread finish([&client] {
      std::this_thread::sleep_for(milliseconds(5));
      client.FinishSending();
    });
    Connection connection(FileDescriptor{pair[0]}, kLimits);
    const auto request = test::ReadRequest(connection);
    if (!request.ok()) {
      if (absl::IsCancelled(request.status())) ++too_late;
      ASSERT_TRUE(absl::IsUnavailable(request.status()) || absl::IsCancelled(request.status()))
          << request.status();
      continue;
    }
    ASSERT_TRUE(request->body_status.ok() || request->body.empty());
    ASSERT_LE(request->body.size(), kLimits.body_bytes);
    connection.Write({});
  }
  EXPECT_LT(too_late, 100) << "nothing was read";
}

}  // namespace
}  // namespace inferpool::fcgi
