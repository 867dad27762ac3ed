#include "shared/base/termination.h"

#include <signal.h>

#include "shared/base/log.h"

namespace inferpool {

void AwaitTermination() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  int signal = 0;
  while (sigwait(&signals, &signal) != 0 || signal != SIGTERM) {
    if (signal == SIGUSR1) log::Reopen();
  }
}

}  // namespace inferpool
