// A forked process of a test's own, so that its signals and threads are its own too.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <functional>
#include <optional>

namespace inferpool::test {

// How long anything may take that should take a moment: the machine may be small and busy.
inline constexpr std::chrono::milliseconds kPatience{30'000};

class ChildProcess {
 public:
  // Runs `body` in the child; what it returns is the exit status.
  explicit ChildProcess(const std::function<int()>& body) {
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int status = 99;
    try {
      status = body();
    } catch (const std::exception&) {
    }
    _exit(status);
  }
  ~ChildProcess() {
    if (ended_) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const { kill(pid_, signal); }

  // The wait status once it has ended; none when it has not within `time`.
  std::optional<int> Wait(std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (!ended_) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = status;
        break;
      }
      if (std::chrono::steady_clock::now() >= end) break;
      usleep(500);
    }
    return ended_;
  }

  // Ended by itself with exit status `wanted`.
  testing::AssertionResult Exited(int wanted, std::chrono::milliseconds time = kPatience) {
    const std::optional<int> status = Wait(time);
    if (!status) return testing::AssertionFailure() << "still runs";
    if (WIFEXITED(*status) && WEXITSTATUS(*status) == wanted) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "wait status " << *status;
  }

 private:
  pid_t pid_ = -1;
  std::optional<int> ended_;
};

// Waits until `condition` holds; false when it does not in `time`.
inline bool Eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds time = kPatience) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    usleep(500);
  }
  return true;
}

}  // namespace inferpool::test
