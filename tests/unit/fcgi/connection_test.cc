#include "fcgi/connection.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/fcgi/child_process.h"
#include "tests/unit/fcgi/fastcgi_client.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::EncodeBegin;
using test::EncodeParameters;
using test::EncodeRequest;
using test::EncodeStream;
using test::FastCgiAnswer;
using test::FastCgiClient;
using test::Parameters;
using test::Record;

constexpr ReadLimits kLimits{.body_bytes = 4 * 1024 * 1024, .io = seconds(1)};
// How much longer than promised something may take on a busy machine.
constexpr milliseconds kSlack{900};

std::string Bytes(std::size_t count, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Seconds since the epoch as nginx's $msec writes them.
std::string Msec(std::chrono::system_clock::time_point time) {
  return fmt::format("{:.3f}", std::chrono::duration<double>(time.time_since_epoch()).count());
}

class ConnectionTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { InitLibrary(); }

  ConnectionTest() {
    std::array<int, 2> pair{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    server_ = FileDescriptor(pair[0]);
    client_ = FastCgiClient(FileDescriptor(pair[1]));
  }
  ~ConnectionTest() override {
    if (peer_.joinable()) peer_.join();
  }

  // What the peer does, beside the connection.
  void Peer(std::function<void(FastCgiClient&)> body) {
    peer_ = std::thread([this, body = std::move(body)] { body(client_); });
  }

  // The peer sends `bytes` and, while they are being read, says that no more will come; it reads
  // what comes back.
  void PeerSends(std::string bytes) {
    Peer([this, bytes = std::move(bytes)](FastCgiClient& client) {
      client.Send(bytes);
      reading_.wait(false);
      std::this_thread::sleep_for(milliseconds(30));
      client.FinishSending();
      answer_ = client.Read();
    });
  }

  // Reads the one request and answers it.
  absl::StatusOr<Request> Serve(const ReadLimits& limits = kLimits, const Response& response = {}) {
    absl::StatusOr<Request> request;
    {
      Connection connection(std::move(server_), limits);
      reading_ = true;
      reading_.notify_all();
      request = connection.Read();
      if (request.ok()) written_ = connection.Write(response);
    }
    if (peer_.joinable()) peer_.join();
    return request;
  }

  // The request that the peer's `bytes` make.
  absl::StatusOr<Request> Read(std::string bytes, const ReadLimits& limits = kLimits) {
    PeerSends(std::move(bytes));
    return Serve(limits);
  }

  FileDescriptor server_;
  FastCgiClient client_{FileDescriptor()};
  std::thread peer_;
  std::atomic<bool> reading_ = false;
  FastCgiAnswer answer_;
  bool written_ = false;
};

TEST_F(ConnectionTest, ReadsTheParametersThatItKnows) {
  const auto request = Read(EncodeRequest("", {{"REQUEST_METHOD", "PUT"},
                                               {"REQUEST_URI", "/v1/predict/a%20b?iou=0.5&x=%3F"},
                                               {"CONTENT_TYPE", "image/png"},
                                               {"HTTP_X_REQUEST_ID", "id-1"},
                                               {"REMOTE_ADDR", "192.0.2.7"},
                                               {"SOMETHING_ELSE", "ignored"}}));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->method, "PUT");
  EXPECT_EQ(request->path, "/v1/predict/a%20b");
  EXPECT_EQ(request->query, "iou=0.5&x=%3F");
  EXPECT_EQ(request->content_type, "image/png");
  EXPECT_EQ(request->request_id, "id-1");
  EXPECT_EQ(request->client, "192.0.2.7");
  EXPECT_TRUE(answer_.Good());
}

TEST_F(ConnectionTest, WhatThePeerDoesNotSayIsEmpty) {
  const auto request =
      Read(EncodeBegin() + Encode(Record::kParams, "") + Encode(Record::kStdin, ""));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->method, "");
  EXPECT_EQ(request->path, "");
  EXPECT_EQ(request->query, "");
  EXPECT_EQ(request->content_type, "");
  EXPECT_EQ(request->request_id, "");
  EXPECT_EQ(request->client, "");
  EXPECT_EQ(request->queue.count(), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(request->body_status));
}

struct Uri {
  std::string uri, path, query;
};

void PrintTo(const Uri& uri, std::ostream* stream) {
  *stream << '"' << uri.uri << '"';
}

class UriTest : public ConnectionTest, public testing::WithParamInterface<Uri> {};

TEST_P(UriTest, IsSplitAtItsFirstQuestionMark) {
  const auto request = Read(EncodeRequest("", {{"REQUEST_URI", GetParam().uri}}));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->path, GetParam().path);
  EXPECT_EQ(request->query, GetParam().query);
}

INSTANTIATE_TEST_SUITE_P(ConnectionTest, UriTest,
                         testing::Values(Uri{"/a", "/a", ""}, Uri{"/a?", "/a", ""},
                                         Uri{"/a?b?c=d", "/a", "b?c=d"}, Uri{"?x", "", "x"},
                                         Uri{"/a#b", "/a#b", ""}, Uri{"", "", ""}));

TEST_F(ConnectionTest, LongParametersInUnevenPiecesArriveWhole) {
  const std::string uri = "/" + std::string(40'000, 'p');
  const std::string bytes = EncodeParameters({{"REQUEST_URI", uri},
                                              {std::string(200, 'N'), std::string(127, 'v')},
                                              {std::string(127, 'M'), std::string(128, 'v')},
                                              {"REQUEST_METHOD", "GET"}});
  Peer([&](FastCgiClient& client) {
    client.Send(EncodeBegin() + EncodeStream(Record::kParams, bytes, 333, 3) +
                Encode(Record::kParams, "") + Encode(Record::kStdin, ""));
    client.Read();
  });
  const auto request = Serve();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->path, uri);
  EXPECT_EQ(request->method, "GET");
}

TEST_F(ConnectionTest, ARequestThatComesByteByByteArrivesWhole) {
  Peer([](FastCgiClient& client) {
    for (const char byte : EncodeRequest("body", {{"REQUEST_URI", "/a?b"}})) {
      client.Send(std::string_view(&byte, 1));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    client.Read();
  });
  const auto request = Serve({.body_bytes = 100, .io = seconds(5)});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->path, "/a");
  EXPECT_EQ(request->body, "body");
}

TEST_F(ConnectionTest, ABodyArrivesByteByByte) {
  std::string body;
  for (int i = 0; i < 512; ++i) body += static_cast<char>(static_cast<unsigned char>(i % 256));
  const auto request = Read(EncodeRequest(body));
  ASSERT_TRUE(request.ok());
  ASSERT_TRUE(request->body_status.ok()) << request->body_status;
  EXPECT_EQ(request->body, body);
}

TEST_F(ConnectionTest, ALargeBodyInUnevenRecordsArrivesWhole) {
  const std::string body = Bytes(3'000'001);
  const auto request =
      Read(EncodeBegin() +
           EncodeStream(Record::kParams,
                        EncodeParameters({{"CONTENT_LENGTH", std::to_string(body.size())}})) +
           Encode(Record::kParams, "") + EncodeStream(Record::kStdin, body, 32'111, 5) +
           Encode(Record::kStdin, ""));
  ASSERT_TRUE(request.ok());
  ASSERT_TRUE(request->body_status.ok()) << request->body_status;
  EXPECT_TRUE(request->body == body);
}

TEST_F(ConnectionTest, AnEmptyBodyIsABody) {
  const auto request = Read(EncodeRequest(""));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->body_status.ok());
  EXPECT_EQ(request->body, "");
}

TEST_F(ConnectionTest, ABodyOfExactlyTheLimitIsTaken) {
  const auto request = Read(EncodeRequest(Bytes(1'000)), {.body_bytes = 1'000, .io = seconds(1)});
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->body_status.ok());
}

TEST_F(ConnectionTest, OneByteMoreIsOutOfRangeAndIsStillAnswered) {
  const auto request = Read(EncodeRequest(Bytes(1'001)), {.body_bytes = 1'000, .io = seconds(1)});
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsOutOfRange(request->body_status)) << request->body_status;
  EXPECT_EQ(request->body, "");
  EXPECT_EQ(request->body_bytes, nullptr);
  EXPECT_TRUE(written_);
  EXPECT_TRUE(answer_.Good());
}

// nginx goes on sending; the answer must not be lost on the way.
TEST_F(ConnectionTest, ABodyThatIsRefusedUnreadDoesNotCostTheAnswer) {
  const std::string body = Bytes(2'000'000);
  PeerSends(EncodeRequest(body));
  Response response;
  response.status = 413;
  response.body = std::string(3'000, 'x');
  const TimePoint start = Clock::now();
  const auto request = Serve({.body_bytes = 1'000, .io = seconds(1)}, response);
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsOutOfRange(request->body_status));
  EXPECT_TRUE(answer_.Good());
  EXPECT_EQ(answer_.Body(), response.body);
  EXPECT_LT(Clock::now() - start, seconds(1) + kSlack);
}

struct Length {
  std::string value;
  absl::StatusCode code;
};

void PrintTo(const Length& length, std::ostream* stream) {
  *stream << '"' << length.value << '"';
}

class LengthTest : public ConnectionTest, public testing::WithParamInterface<Length> {};

TEST_P(LengthTest, HasItsStatus) {
  const auto request = Read(EncodeRequest("0123456789", {{"CONTENT_LENGTH", GetParam().value}}),
                            {.body_bytes = 100, .io = seconds(1)});
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->body_status.code(), GetParam().code) << request->body_status;
  EXPECT_EQ(request->body, "");
  EXPECT_TRUE(answer_.Good());
}

INSTANTIATE_TEST_SUITE_P(
    ConnectionTest, LengthTest,
    testing::Values(Length{"", absl::StatusCode::kFailedPrecondition},
                    Length{"abc", absl::StatusCode::kInvalidArgument},
                    Length{"-1", absl::StatusCode::kInvalidArgument},
                    Length{"+5", absl::StatusCode::kInvalidArgument},
                    Length{" 5", absl::StatusCode::kInvalidArgument},
                    Length{"5 ", absl::StatusCode::kInvalidArgument},
                    Length{"5.0", absl::StatusCode::kInvalidArgument},
                    Length{"0x5", absl::StatusCode::kInvalidArgument},
                    Length{"5abc", absl::StatusCode::kInvalidArgument},
                    Length{"999abc", absl::StatusCode::kInvalidArgument},
                    Length{"99999999999999999999x", absl::StatusCode::kInvalidArgument},
                    Length{"101", absl::StatusCode::kOutOfRange},
                    Length{"18446744073709551615", absl::StatusCode::kOutOfRange},
                    Length{"99999999999999999999999", absl::StatusCode::kOutOfRange}));

TEST_F(ConnectionTest, ABodyThatEndsTooEarlyIsDataLossAndNothingOfItIsKept) {
  const auto request = Read(EncodeRequest("0123456789", {{"CONTENT_LENGTH", "11"}}));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsDataLoss(request->body_status)) << request->body_status;
  EXPECT_EQ(request->body, "");
  EXPECT_EQ(request->body_bytes, nullptr);
  EXPECT_TRUE(answer_.Good()) << "the client is told";
}

TEST_F(ConnectionTest, AConnectionThatEndsInTheBodyIsDataLoss) {
  const std::string whole = EncodeRequest(Bytes(50'000));
  const auto request = Read(whole.substr(0, whole.size() - 20'000));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsDataLoss(request->body_status)) << request->body_status;
}

TEST_F(ConnectionTest, MoreBodyThanAnnouncedIsLeftAlone) {
  const auto request = Read(EncodeRequest("0123456789", {{"CONTENT_LENGTH", "4"}}));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->body_status.ok());
  EXPECT_EQ(request->body, "0123");
  EXPECT_TRUE(answer_.Good());
}

TEST_F(ConnectionTest, AnAbortInTheBodyIsDataLoss) {
  Peer([](FastCgiClient& client) {
    client.Send(EncodeBegin() +
                EncodeStream(Record::kParams, EncodeParameters({{"CONTENT_LENGTH", "1000"}})) +
                Encode(Record::kParams, "") + Encode(Record::kStdin, "some") +
                Encode(Record::kAbort, ""));
    client.Read();
  });
  const auto request = Serve();
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsDataLoss(request->body_status)) << request->body_status;
}

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
TEST_F(ConnectionTest, ASlowPeerIsGivenUpAfterTheIoTime) {
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
        const auto request = connection.Read();
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

TEST_F(ConnectionTest, AClientThatHadLeftBeforeIsCancelledWhateverItSent) {
  for (const std::string& bytes :
       {std::string(), EncodeRequest("body"), EncodeRequest("body").substr(0, 30)}) {
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    FastCgiClient client(FileDescriptor{pair[1]});
    ASSERT_TRUE(client.Send(bytes));
    client.Close();
    Connection connection(FileDescriptor{pair[0]}, kLimits);
    const absl::Status status = connection.Read().status();
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
  }
}

TEST_F(ConnectionTest, APeerThatLeavesInTheMidstIsUnavailable) {
  Peer([this](FastCgiClient& client) {
    client.Send(EncodeRequest("body").substr(0, 30));
    reading_.wait(false);
    std::this_thread::sleep_for(milliseconds(30));
    client.Close();
  });
  EXPECT_TRUE(absl::IsUnavailable(Serve().status()));
}

TEST_F(ConnectionTest, APeerThatIsGoneBeforeTheAnswerDoesNotHarmTheProcess) {
  client_.Send(EncodeRequest("body"));
  Connection connection(std::move(server_), kLimits);
  const auto request = connection.Read();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->body, "body");
  client_.Close();
  Response response;
  response.body = Bytes(1'000'000);
  EXPECT_FALSE(connection.Write(response));
}

class GarbageTest : public ConnectionTest, public testing::WithParamInterface<std::string> {};

TEST_P(GarbageTest, IsUnavailable) {
  EXPECT_TRUE(absl::IsUnavailable(Read(GetParam()).status()));
  EXPECT_EQ(answer_.out, "") << "there is nobody to answer";
}

INSTANTIATE_TEST_SUITE_P(ConnectionTest, GarbageTest,
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
    return absl::IsUnavailable(connection.Read().status()) ? 0 : 1;
  });
  EXPECT_TRUE(child.Exited(0));
}

INSTANTIATE_TEST_SUITE_P(ConnectionTest, HugeParameterTest,
                         testing::Values("\xff\xff\xff\xff\x7f", "\xff\xff\xff\xff\xff\xff\xff\xff",
                                         "\xff\xff\xff\xf0\xff\xff\xff\xf0",
                                         "\xc0\x01\x01\x01\xbf\x01\x01\x01",
                                         "\xff\xff\xff\xfd\x01"));

TEST_F(ConnectionTest, ParametersUpTo64KiBAreTaken) {
  Peer([](FastCgiClient& client) {
    client.Send(EncodeRequest("body", {{"REQUEST_URI", std::string(65'000, 'u')}}));
    client.Read();
  });
  const auto request = Serve();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->path.size(), 65'000U);
  EXPECT_EQ(request->body, "body");
}

TEST_F(ConnectionTest, MoreThan64KiBOfParametersAreUnavailable) {
  for (const std::size_t bytes : {66'000U, 300'000U}) {
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    FastCgiClient client(FileDescriptor{pair[1]});
    std::thread peer([&] {
      client.Send(EncodeRequest("body", {{"REQUEST_URI", std::string(bytes, 'u')}}));
    });
    {
      Connection connection(FileDescriptor{pair[0]}, kLimits);
      EXPECT_TRUE(absl::IsUnavailable(connection.Read().status())) << bytes;
    }
    peer.join();
  }
}

TEST_F(ConnectionTest, ManySmallParametersCountToo) {
  Parameters many;
  for (int i = 0; i < 6'000; ++i) many.emplace_back("NAME" + std::to_string(i), "value");
  EXPECT_TRUE(absl::IsUnavailable(Read(EncodeRequest("body", many)).status()));
}

TEST_F(ConnectionTest, TheAnswerHasStatusHeadersLengthAndBody) {
  PeerSends(EncodeRequest(""));
  const std::string body = "{\"a\":1}" + Bytes(300);
  ASSERT_TRUE(Serve(kLimits, {.status = 422,
                              .headers = {{"Content-Type", "application/json"}, {"X-Other", "a b"}},
                              .body = body})
                  .ok());
  EXPECT_TRUE(written_);
  EXPECT_TRUE(answer_.Good());
  EXPECT_EQ(answer_.Header("Status"), "422");
  EXPECT_EQ(answer_.Header("Content-Type"), "application/json");
  EXPECT_EQ(answer_.Header("X-Other"), "a b");
  EXPECT_EQ(answer_.Header("Content-Length"), std::to_string(body.size()));
  EXPECT_EQ(answer_.Body(), body);
  EXPECT_EQ(answer_.err, "");
}

TEST_F(ConnectionTest, ALargeAnswerArrivesWhole) {
  PeerSends(EncodeRequest(""));
  const std::string body = Bytes(5'000'000);
  ASSERT_TRUE(Serve(kLimits, {.status = 200, .headers = {}, .body = body}).ok());
  EXPECT_TRUE(written_);
  EXPECT_TRUE(answer_.Good());
  EXPECT_TRUE(answer_.Body() == body);
}

TEST_F(ConnectionTest, IsClosedAfterTheAnswerEvenWhenThePeerAsksToKeepIt) {
  Peer([this](FastCgiClient& client) {
    client.Send(EncodeRequest("one", {}, /*keep_connection=*/true));
    answer_ = client.Read(milliseconds(3'000), /*linger=*/true);
  });
  const TimePoint start = Clock::now();
  const auto request = Serve();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->body, "one");
  EXPECT_TRUE(answer_.Good());
  EXPECT_TRUE(answer_.closed);
  EXPECT_LT(Clock::now() - start, kSlack) << "a peer that keeps its end open does not hold it";
}

TEST_F(ConnectionTest, APeerThatDoesNotCloseHoldsTheThreadOnlyBriefly) {
  client_.Send(EncodeRequest("one"));
  const TimePoint start = Clock::now();
  ASSERT_TRUE(Serve().ok());
  EXPECT_LT(Clock::now() - start, kSlack);
}

TEST_F(ConnectionTest, AConnectionThatIsNeverReadIsClosed) {
  { const Connection connection(std::move(server_), kLimits); }
  EXPECT_TRUE(client_.Read(milliseconds(1'000)).closed);
}

TEST_F(ConnectionTest, TimeInTheQueueIsSinceTheHandOff) {
  const auto handed_off = std::chrono::system_clock::now() - milliseconds(1'500);
  const auto request = Read(EncodeRequest("", {{"INFERPOOL_HANDED_OFF", Msec(handed_off)}}));
  ASSERT_TRUE(request.ok());
  EXPECT_GE(request->queue, milliseconds(1'499));
  EXPECT_LT(request->queue, milliseconds(1'500) + kSlack);
}

TEST_F(ConnectionTest, TimeInTheQueueEndsWithTheAcceptanceAndReadingBeginsThere) {
  Peer([](FastCgiClient& client) {
    const std::string bytes =
        EncodeRequest("body", {{"INFERPOOL_HANDED_OFF", Msec(std::chrono::system_clock::now())}});
    std::this_thread::sleep_for(milliseconds(400));
    client.Send(bytes);
    client.Read();
  });
  const TimePoint before = Clock::now();
  const auto request = Serve();
  ASSERT_TRUE(request.ok());
  EXPECT_LT(request->queue, milliseconds(200)) << "these 400 ms were spent reading";
  EXPECT_GE(request->read, milliseconds(350));
  EXPECT_LT(request->accepted - before, milliseconds(200));
}

class HandOffTest : public ConnectionTest, public testing::WithParamInterface<std::string> {};

TEST_P(HandOffTest, ThatMakesNoSenseIsUnknown) {
  const auto request = Read(EncodeRequest("", {{"INFERPOOL_HANDED_OFF", GetParam()}}));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->queue.count(), 0);
}

INSTANTIATE_TEST_SUITE_P(ConnectionTest, HandOffTest,
                         testing::Values("", "soon", "nan", "inf", "-inf", "1e999", "99999999999.5",
                                         "-", "."));

// Whatever bytes come, reading ends, and a body that is OK has the announced length. (Below 128:
// see HugeParameterTest for lengths of four bytes.)
TEST_F(ConnectionTest, DamagedRequestsNeverHangOrCrash) {
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
    const auto request = connection.Read();
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
