// A connection and its peer, on the two ends of a socket pair.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "fcgi/wire/connection.h"
#include "tests/unit/fcgi/wire/fastcgi_client.h"
#include "tests/unit/fcgi/wire/read_request.h"

namespace inferpool::test {

inline constexpr fcgi::ReadLimits kLimits{.body_bytes = 4 * 1024 * 1024,
                                          .io = std::chrono::seconds(1)};
// How much longer than promised something may take on a busy machine: less than what would be
// another order of time.
inline constexpr std::chrono::milliseconds kSlack{10'000};

inline std::string Bytes(std::size_t count, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Seconds since the epoch as nginx's $msec writes them.
inline std::string Msec(std::chrono::system_clock::time_point time) {
  return fmt::format("{:.3f}", std::chrono::duration<double>(time.time_since_epoch()).count());
}

class ConnectionFixture : public testing::Test {
 protected:
  static void SetUpTestSuite() { fcgi::InitLibrary(); }

  ConnectionFixture() {
    std::array<int, 2> pair{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    server_ = FileDescriptor(pair[0]);
    client_ = FastCgiClient(FileDescriptor(pair[1]));
  }
  ~ConnectionFixture() override {
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
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      client.FinishSending();
      answer_ = client.Read();
    });
  }

  // Reads the one request and answers it.
  absl::StatusOr<fcgi::Request> Serve(const fcgi::ReadLimits& limits = kLimits,
                                      const fcgi::Response& response = {}) {
    absl::StatusOr<fcgi::Request> request;
    {
      fcgi::Connection connection(std::move(server_), limits);
      reading_ = true;
      reading_.notify_all();
      request = ReadRequest(connection);
      if (request.ok()) written_ = connection.Write(response);
    }
    if (peer_.joinable()) peer_.join();
    return request;
  }

  // The request that the peer's `bytes` make.
  absl::StatusOr<fcgi::Request> Read(std::string bytes, const fcgi::ReadLimits& limits = kLimits) {
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

}  // namespace inferpool::test
