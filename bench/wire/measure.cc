#include "bench/wire/measure.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace inferpool::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

double SecondsOf(clockid_t clock) {
  timespec time = {};
  if (clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double OwnCpu() {
  return SecondsOf(CLOCK_PROCESS_CPUTIME_ID);
}

}  // namespace

Child::Child(std::vector<std::string> command) : pid_(fork()) {
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

Child::~Child() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

double Child::Cpu() const {
  clockid_t clock = 0;
  return clock_getcpuclockid(pid_, &clock) == 0 ? SecondsOf(clock) : 0;
}

std::string FreeTcpAddress() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (bind(socket, any, length) != 0 || getsockname(socket, any, &length) != 0) {
    perror("no TCP port can be had");
    std::exit(EXIT_FAILURE);
  }
  close(socket);
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

Measured Run(const Case& test, double seconds) {
  std::vector<std::vector<double>> times(static_cast<std::size_t>(test.threads));
  std::atomic<bool> stop = false;
  const double client = OwnCpu();
  const double server = test.server->Cpu();
  const auto start = Clock::now();
  {
    std::vector<std::jthread> threads;
    for (auto& mine : times) {
      threads.emplace_back([&] {
        const Call call = test.make();
        while (!stop.load(std::memory_order_relaxed)) {
          const auto begin = Clock::now();
          call();
          mine.push_back(Seconds(Clock::now() - begin).count() * 1e6);
        }
      });
    }
    std::this_thread::sleep_for(Seconds(seconds));
    stop = true;
  }
  const double took = Seconds(Clock::now() - start).count();
  std::vector<double> all;
  for (const auto& mine : times) all.insert(all.end(), mine.begin(), mine.end());
  std::ranges::sort(all);
  const auto calls = static_cast<double>(all.size());
  return {calls / took, all[all.size() / 2], all[all.size() * 99 / 100],
          (OwnCpu() - client) / calls * 1e6, (test.server->Cpu() - server) / calls * 1e6};
}

Measured Median(std::vector<Measured> rounds) {
  std::ranges::sort(rounds, {}, &Measured::calls_per_s);
  return rounds[rounds.size() / 2];
}

}  // namespace inferpool::bench
