// Calls made by some threads for some time: how many, how long they took, and the processor time of
// both ends.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace inferpool::bench {

// A child process, killed at the end, and with its parent.
class Child {
 public:
  explicit Child(std::vector<std::string> command);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Processor time so far, seconds.
  double Cpu() const;

 private:
  pid_t pid_;
};

// "127.0.0.1:PORT", on which nobody listens now.
std::string FreeTcpAddress();

struct Measured {
  double calls_per_s = 0;
  double p50_us = 0;
  double p99_us = 0;
  double client_us = 0;  // processor time a call
  double server_us = 0;
};

// Makes one call, or ends the process with what went wrong. Each thread makes its own.
using Call = std::function<void()>;
using MakeCall = std::function<Call()>;

struct Case {
  std::string name;
  int threads;
  const Child* server;
  MakeCall make;
};

// One round.
Measured Run(const Case& test, double seconds);

// The round in the middle, by calls a second.
Measured Median(std::vector<Measured> rounds);

}  // namespace inferpool::bench
