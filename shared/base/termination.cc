#include "shared/base/termination.h"

#include <signal.h>
#include <time.h>

#include "shared/base/log.h"

namespace inferpool {

void AwaitTermination() {
  while (!AwaitTermination(std::chrono::hours(1))) {
  }
}

bool AwaitTermination(std::chrono::seconds longest) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  const timespec time{.tv_sec = longest.count(), .tv_nsec = 0};
  const int signal = sigtimedwait(&signals, nullptr, &time);
  if (signal == SIGUSR1) log::Reopen();
  return signal == SIGTERM;
}

}  // namespace inferpool
