#include "fcgi/wire/connection.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
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

class ConnectionTest : public test::ConnectionFixture {};

TEST_F(ConnectionTest, ReadsTheParametersThatItKnows) {
  const auto request = Read(EncodeRequest("", {{"REQUEST_METHOD", "PUT"},
                                               {"REQUEST_URI", "/v1/predict/a%20b?iou=0.5&x=%3F"},
                                               {"CONTENT_TYPE", "image/png"},
                                               {"HTTP_X_REQUEST_ID", "id-1"},
                                               {"HTTP_X_PRIORITY", " \thigh low  "},
                                               {"HTTP_X_NOTHING", "  "},
                                               {"HTTP_ACCEPT", "a=b"},
                                               {"HTTP_ACCEPT", "second"},
                                               {"HTTP_", "nameless"},
                                               {"REMOTE_ADDR", "192.0.2.7"},
                                               {"SOMETHING_ELSE", "ignored"}}));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->method, "PUT");
  EXPECT_EQ(request->path, "/v1/predict/a%20b");
  EXPECT_EQ(request->query, "iou=0.5&x=%3F");
  EXPECT_EQ(request->content_type, "image/png");
  EXPECT_EQ(request->Header("x-request-id"), "id-1");
  EXPECT_EQ(request->Header("x-priority"), "high low");
  EXPECT_EQ(request->Header("x-nothing"), "");
  EXPECT_EQ(request->Header("accept"), "a=b");
  EXPECT_EQ(request->Header("x-api-key"), "");
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
  EXPECT_TRUE(request->headers.empty());
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

// What is refused is read as well, up to where the client said that it ends.
TEST_F(ConnectionTest, MoreBodyThanAnnouncedIsNotWaitedForInARefusedRequest) {
  const std::string handed_off = Msec(std::chrono::system_clock::now() - seconds(60));
  std::atomic<bool> answered = false;
  Peer([&](FastCgiClient& client) {
    client.Send(
        EncodeBegin() +
        EncodeStream(Record::kParams, EncodeParameters({{"CONTENT_LENGTH", "4"},
                                                        {"INFERPOOL_HANDED_OFF", handed_off}})) +
        Encode(Record::kParams, "") + Encode(Record::kStdin, "0123456789"));
    answer_ = client.Read();  // and says no more, and does not close
    answered = true;
  });
  fcgi::ReadLimits limits = kLimits;
  limits.io = seconds(20);
  limits.queue = milliseconds(1);
  const TimePoint start = Clock::now();
  const auto request = Serve(limits);
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(request->body_status)) << request->body_status;
  EXPECT_TRUE(written_);
  EXPECT_TRUE(answered && answer_.Good());
  EXPECT_LT(Clock::now() - start, limits.io / 2);
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

TEST_F(ConnectionTest, TheAnswerHasStatusHeadersLengthAndBody) {
  PeerSends(EncodeRequest(""));
  const std::string body = "{\"a\":1}" + Bytes(300);
  ASSERT_TRUE(Serve(kLimits, {.status = 422,
                              .headers = {{"Content-Type", "application/json"}, {"X-Other", "a b"}},
                              .body = body})
                  .ok());
  EXPECT_TRUE(written_);
  EXPECT_TRUE(answer_.Good());
  EXPECT_EQ(answer_.Header("Status"), "422 Unprocessable Content");
  EXPECT_EQ(answer_.Header("Content-Type"), "application/json");
  EXPECT_EQ(answer_.Header("X-Other"), "a b");
  EXPECT_EQ(answer_.Header("Content-Length"), std::to_string(body.size()));
  EXPECT_EQ(answer_.Body(), body);
  EXPECT_EQ(answer_.err, "");
}

TEST_F(ConnectionTest, ALargeAnswerArrivesWhole) {
  PeerSends(EncodeRequest(""));
  const std::string body = Bytes(5'000'000);
  fcgi::ReadLimits limits = kLimits;
  limits.io = seconds(30);  // a busy machine may let the peer wait for its processor
  ASSERT_TRUE(Serve(limits, {.status = 200, .headers = {}, .body = body}).ok());
  EXPECT_TRUE(written_);
  EXPECT_TRUE(answer_.Good());
  EXPECT_TRUE(answer_.Body() == body);
}

TEST_F(ConnectionTest, IsClosedAfterTheAnswerEvenWhenThePeerAsksToKeepIt) {
  Peer([this](FastCgiClient& client) {
    client.Send(EncodeRequest("one", {}, /*keep_connection=*/true));
    answer_ = client.Read(milliseconds(30'000), /*linger=*/true);
  });
  const auto request = Serve();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->body, "one");
  EXPECT_TRUE(answer_.Good());
  EXPECT_TRUE(answer_.closed) << "a peer that keeps its end open does not hold it";
}

TEST_F(ConnectionTest, APeerThatDoesNotCloseHoldsTheThreadOnlyBriefly) {
  // libfcgi of itself waits for 2 s. On a busy machine one may take as long, but not all.
  bool brief = false;
  for (int round = 0; round < 5 && !brief; ++round) {
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    server_ = FileDescriptor(pair[0]);
    client_ = FastCgiClient(FileDescriptor(pair[1]));
    client_.Send(EncodeRequest("one"));
    const TimePoint start = Clock::now();
    ASSERT_TRUE(Serve().ok());
    brief = Clock::now() - start < seconds(1);
  }
  EXPECT_TRUE(brief);
}

TEST_F(ConnectionTest, AConnectionThatIsNeverReadIsClosed) {
  { const Connection connection(std::move(server_), kLimits); }
  EXPECT_TRUE(client_.Read().closed);
}

TEST_F(ConnectionTest, TimeInTheQueueIsSinceTheHandOff) {
  const auto handed_off = std::chrono::system_clock::now() - milliseconds(1'500);
  const auto request = Read(EncodeRequest("", {{"INFERPOOL_HANDED_OFF", Msec(handed_off)}}));
  ASSERT_TRUE(request.ok());
  EXPECT_GE(request->queue, milliseconds(1'499));
  EXPECT_LT(request->queue, milliseconds(1'500) + kSlack);
}

TEST_F(ConnectionTest, TimeInTheQueueEndsWithTheAcceptanceAndReadingBeginsThere) {
  const TimePoint handed_off = Clock::now();
  const std::string bytes =
      EncodeRequest("body", {{"INFERPOOL_HANDED_OFF", Msec(std::chrono::system_clock::now())}});
  TimePoint sent;
  Peer([&](FastCgiClient& client) {
    reading_.wait(false);
    std::this_thread::sleep_for(milliseconds(400));
    sent = Clock::now();
    client.Send(bytes);
    client.Read();
  });
  const auto request = Serve();
  ASSERT_TRUE(request.ok());
  EXPECT_LT(request->accepted, sent);
  EXPECT_GE(request->read, sent - request->accepted);
  const auto waited = request->accepted - handed_off;
  EXPECT_LT(abs(request->queue - waited), milliseconds(200)) << "400 ms were spent reading";
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

// ------------------------------------------------------------------ limits in time

class ConnectionQueueTest : public ConnectionTest {
 protected:
  // A request that nginx handed off so long ago.
  static std::string Waited(milliseconds time, const Parameters& more = {}) {
    Parameters parameters = {
        {"INFERPOOL_HANDED_OFF", Msec(std::chrono::system_clock::now() - time)}};
    parameters.insert(parameters.end(), more.begin(), more.end());
    return EncodeRequest(Bytes(100'000), parameters);
  }
  static ReadLimits Most(milliseconds time) {
    return {.body_bytes = 1'000'000, .io = seconds(1), .queue = time};
  }
};

TEST_F(ConnectionQueueTest, ARequestThatWaitedTooLongIsRefusedUnreadAndStillAnswered) {
  Response response;
  response.status = 503;
  PeerSends(Waited(milliseconds(5'000)));
  const auto request = Serve(Most(milliseconds(2'000)), response);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(absl::IsResourceExhausted(request->body_status)) << request->body_status;
  EXPECT_EQ(request->body, "");
  EXPECT_EQ(request->body_bytes, nullptr);
  EXPECT_EQ(request->method, "POST") << "who asked is known all the same";
  EXPECT_TRUE(answer_.Good());
  EXPECT_EQ(answer_.Header("Status"), "503 Service Unavailable");
}

TEST_F(ConnectionQueueTest, WithinTheLimitItIsTaken) {
  const auto request = Read(Waited(milliseconds(2'000)), Most(milliseconds(20'000)));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->body_status.ok()) << request->body_status;
}

TEST_F(ConnectionQueueTest, WithoutALimitAnyWaitIsTaken) {
  const auto request = Read(Waited(milliseconds(600'000)), Most(milliseconds(0)));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->body_status.ok()) << request->body_status;
}

TEST_F(ConnectionQueueTest, OneThatIsSentAgainHasNotWaitedForAThreadAllTheTime) {
  const auto request =
      Read(Waited(milliseconds(5'000), {{"INFERPOOL_RETRY", "1"}}), Most(milliseconds(2'000)));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->body_status.ok()) << request->body_status;
}

TEST_F(ConnectionQueueTest, AnEmptyRetryIsNone) {
  const auto request =
      Read(Waited(milliseconds(5'000), {{"INFERPOOL_RETRY", ""}}), Most(milliseconds(2'000)));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(request->body_status)) << request->body_status;
}

TEST_F(ConnectionQueueTest, OneWithoutATimeIsTaken) {
  const auto request = Read(EncodeRequest("body"), Most(milliseconds(1)));
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->body_status.ok()) << request->body_status;
}

// Never a pause of the io time, and yet no end.
TEST_F(ConnectionTest, ABodyThatTricklesIsGivenUpAfterTheWholeTime) {
  std::atomic<bool> done = false;
  Peer([&done](FastCgiClient& client) {
    client.Send(EncodeBegin() +
                EncodeStream(Record::kParams, EncodeParameters({{"CONTENT_LENGTH", "100000"}})) +
                Encode(Record::kParams, ""));
    while (!done && client.Send(Encode(Record::kStdin, "a few bytes"))) {
      std::this_thread::sleep_for(milliseconds(20));
    }
  });
  const TimePoint start = Clock::now();
  Connection connection(std::move(server_),
                        {.body_bytes = 200'000, .io = seconds(1), .whole = seconds(1)});
  const auto request = test::ReadRequest(connection);
  const auto took = Clock::now() - start;
  done = true;
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(absl::IsDataLoss(request->body_status)) << request->body_status;
  EXPECT_EQ(request->body_bytes, nullptr);
  EXPECT_GE(took, milliseconds(950));
  EXPECT_LT(took, seconds(1) + kSlack);
}

}  // namespace
}  // namespace inferpool::fcgi
