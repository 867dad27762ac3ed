#include "shared/monitor/http_port.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "shared/base/listen.h"

namespace inferpool::monitor {
namespace {

struct Got {
  CURLcode code = CURLE_OK;
  long status = 0;
  std::string text;  // headers and body
};

std::size_t Append(char* data, std::size_t size, std::size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

HttpAnswer Answer(std::string_view path) {
  if (path == "/busy") return {503, "{}"};
  if (path == "/text") return {200, "some text", "text/plain"};
  if (path == "/broken") throw std::runtime_error("no memory");
  return {404, "{\"detail\":\"there is /text\"}"};
}

class HttpPortTest : public testing::Test {
 protected:
  void Start() {
    auto started = HttpPort::Start(listener_.get(), 8, Answer);
    ASSERT_TRUE(started.ok()) << started.status();
    port_ = *std::move(started);
  }

  Got Ask(const std::string& path, const std::string& method = "GET",
          const std::string& body = "") const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const std::string url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + path;
    Got got;
    CURL* curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_HEADER, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);
    if (method == "HEAD") {
      curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else {
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
    }
    if (!body.empty()) {
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got.text);
    got.code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &got.status);
    curl_easy_cleanup(curl);
    return got;
  }

  // A connection of which the port knows, and that has asked nothing yet.
  FileDescriptor Connect() const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    FileDescriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(Ask("/text").status, 200);  // accepted after it
    return client;
  }

  const FileDescriptor listener_ =
      std::move(*ListenTcp({.host = "127.0.0.1", .port = "0", .backlog = 8}));
  std::unique_ptr<HttpPort> port_;
};

TEST_F(HttpPortTest, AnswersWhatTheHandlerSays) {
  Start();
  const Got text = Ask("/text");
  EXPECT_EQ(text.status, 200);
  EXPECT_TRUE(text.text.ends_with("\r\n\r\nsome text")) << text.text;
  EXPECT_NE(text.text.find("Content-Type: text/plain\r\n"), std::string::npos) << text.text;
  EXPECT_NE(text.text.find("Cache-Control: no-store\r\n"), std::string::npos) << text.text;
  EXPECT_EQ(text.text.find("Retry-After"), std::string::npos) << text.text;
  const Got none = Ask("/none");
  EXPECT_EQ(none.status, 404);
  EXPECT_NE(none.text.find("Content-Type: application/json\r\n"), std::string::npos) << none.text;
}

TEST_F(HttpPortTest, AHeadHasNoBody) {
  Start();
  const Got head = Ask("/text", "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_NE(head.text.find("Content-Length: 9\r\n"), std::string::npos) << head.text;
  EXPECT_TRUE(head.text.ends_with("\r\n\r\n")) << head.text;
}

TEST_F(HttpPortTest, OtherMethodsAreRefusedWhateverTheirBody) {
  Start();
  EXPECT_EQ(Ask("/text", "POST", std::string(100'000, 'x')).status, 405);
  EXPECT_EQ(Ask("/text", "DELETE").status, 405);
  EXPECT_EQ(Ask("/none", "PUT", "a").status, 405);
}

TEST_F(HttpPortTest, ABusyServiceSaysWhenToAskAgain) {
  Start();
  const Got busy = Ask("/busy");
  EXPECT_EQ(busy.status, 503);
  EXPECT_NE(busy.text.find("Retry-After: 1\r\n"), std::string::npos) << busy.text;
}

TEST_F(HttpPortTest, AnExceptionClosesTheConnectionAndNotThePort) {
  Start();
  EXPECT_EQ(Ask("/broken").code, CURLE_GOT_NOTHING);
  EXPECT_EQ(Ask("/text").status, 200);
}

TEST_F(HttpPortTest, TheSocketOutlivesThePort) {
  Start();
  EXPECT_EQ(Ask("/text").status, 200);
  port_.reset();
  Start();
  EXPECT_EQ(Ask("/text").status, 200);
}

TEST_F(HttpPortTest, WhoeverIsConnectedIsAnsweredBeforeItStops) {
  Start();
  const FileDescriptor client = Connect();
  std::jthread stop([this] { port_.reset(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const std::string_view request = "GET /text HTTP/1.1\r\nHost: a\r\n\r\n";
  ASSERT_EQ(send(client.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  std::array<char, 1024> buffer{};
  for (ssize_t got = 0; (got = recv(client.get(), buffer.data(), buffer.size(), 0)) > 0;) {
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nsome text")) << answer;
}

TEST_F(HttpPortTest, OneThatNeverAsksDoesNotHoldItUpForLong) {
  Start();
  const FileDescriptor client = Connect();
  const auto begin = std::chrono::steady_clock::now();
  port_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
}

TEST_F(HttpPortTest, AConnectionCarriesOneRequest) {
  Start();
  EXPECT_NE(Ask("/text").text.find("Connection: close\r\n"), std::string::npos);
}

}  // namespace
}  // namespace inferpool::monitor
