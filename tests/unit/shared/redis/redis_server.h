// A real Redis of a test's own, in a folder of its own, on a Unix socket.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "shared/redis/redis.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::streams {

class RedisServer {
 public:
  // `options`: of its command line, such as {"--maxmemory", "3mb"}.
  explicit RedisServer(std::vector<std::string> options = {}) : options_(std::move(options)) {
    signal(SIGPIPE, SIG_IGN);
    Start();
  }
  ~RedisServer() { Kill(); }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  void Start() {
    const std::string socket = folder_.path() + "/redis.sock";
    std::vector<std::string> words = {"redis-server",
                                      "--port",
                                      "0",
                                      "--unixsocket",
                                      socket,
                                      "--dir",
                                      folder_.path(),
                                      "--save",
                                      "",
                                      "--logfile",
                                      folder_.path() + "/log"};
    words.insert(words.end(), options_.begin(), options_.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    for (int i = 0; i < 500; ++i) {
      if (!absl::IsUnavailable(Redis::Connect(address()).status())) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "redis-server does not answer; is Debian's redis-server installed?";
  }

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  RedisAddress address() const { return {.where = "unix:" + folder_.path() + "/redis.sock"}; }
  pid_t pid() const { return pid_; }

  Redis Connect() const {
    auto redis = Redis::Connect(address());
    EXPECT_TRUE(redis.ok()) << redis.status();
    return *std::move(redis);
  }

 private:
  test::TemporaryFolder folder_;
  std::vector<std::string> options_;
  pid_t pid_ = 0;
};

}  // namespace inferpool::streams
