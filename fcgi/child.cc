#include "fcgi/child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <exception>

#include "shared/log.h"

namespace inferpool::fcgi {
namespace {

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : std::array{SIGTERM, SIGINT, SIGCHLD, SIGHUP}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void UnblockSignals() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

pid_t StartChild(const ChildRole& role) {
  const pid_t master = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;

  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != master) _exit(EXIT_FAILURE);  // the master died before the line above
  // A terminal's Ctrl-C goes to the whole foreground group; only the master shall act on it.
  setpgid(0, 0);
  int status = EXIT_FAILURE;
  try {
    status = role.run();
  } catch (const std::exception& error) {
    log::Error("child failed", {{"child", role.name}, {"reason", error.what()}});
  }
  // No destructors of what was inherited from the master.
  _exit(status);
}

}  // namespace inferpool::fcgi
