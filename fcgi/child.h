// A child process of the master: what it runs, and how it is started.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace inferpool::fcgi {

struct ChildRole {
  std::string name;     // "worker 3", "sidecar"; for logs
  bool first_to_leave;  // see Supervisor
  int worker = -1;      // its slot in the scoreboard; -1: it has none
  // Runs in the child and is its life: the value returned is the exit status. The signals that the
  // master handles are blocked when it is called, so that none is lost before they are awaited.
  std::function<int()> run;
};

// Forks. The child gets SIGTERM when the master dies. Returns the pid, or -1 with errno.
pid_t StartChild(const ChildRole& role);

// The signals that the master and its children take through signalfd.
void BlockSignals();

// Undoes BlockSignals, for a child that handles signals in the ordinary way or executes a program.
void UnblockSignals();

}  // namespace inferpool::fcgi
