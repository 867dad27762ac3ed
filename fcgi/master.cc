#include "fcgi/master.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <system_error>

#include "shared/file_descriptor.h"
#include "shared/log.h"

namespace inferpool::fcgi {
namespace {

class Master {
 public:
  Master(const std::vector<ChildRole>& roles, const Supervisor::Options& options,
         const Scoreboard& scoreboard)
      : roles_(roles), scoreboard_(scoreboard), supervisor_(FirstToLeave(roles), options) {}

  int Run() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGHUP}) sigaddset(&set, signal);
    const FileDescriptor signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    while (true) {
      // Acting can fail (no process to be had), which is an event of its own: act until it is
      // quiet.
      for (Supervisor::Actions actions = supervisor_.Due(Clock::now()); !actions.empty();
           actions = supervisor_.Due(Clock::now())) {
        for (const Supervisor::Action& action : actions) Perform(action);
      }
      if (supervisor_.Done()) break;
      pollfd event{.fd = signals.get(), .events = POLLIN, .revents = 0};
      poll(&event, 1, PollTimeoutMs());
      ReadSignals(signals.get());
      Reap();
    }
    log::Info("stopped");
    return EXIT_SUCCESS;
  }

 private:
  static std::vector<bool> FirstToLeave(const std::vector<ChildRole>& roles) {
    std::vector<bool> first;
    for (const ChildRole& role : roles) first.push_back(role.first_to_leave);
    return first;
  }

  int PollTimeoutMs() const {
    const auto due = supervisor_.NextDue();
    if (!due) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clock::now());
    return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 60'000));
  }

  void ReadSignals(int fd) {
    signalfd_siginfo info{};
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
      switch (info.ssi_signo) {
        case SIGTERM:
        case SIGINT:
          if (info.ssi_signo == SIGINT && interrupted_) {
            log::Warning("stopping at once");
            supervisor_.StopNow(Clock::now());
          } else {
            log::Info("stopping", {{"signal", strsignal(static_cast<int>(info.ssi_signo))}});
            supervisor_.Stop(Clock::now());
          }
          stopping_ = true;
          interrupted_ = interrupted_ || info.ssi_signo == SIGINT;
          break;
        case SIGHUP:
          log::Warning("SIGHUP: this version does not reload; restart to use a new configuration");
          break;
        default:
          break;  // SIGCHLD: Reap follows
      }
    }
  }

  void Perform(const Supervisor::Action& action) {
    const ChildRole& role = roles_[action.child];
    switch (action.act) {
      case Supervisor::Act::kStart:
        Start(action.child);
        break;
      case Supervisor::Act::kTerminate:
        kill(pid_of_.at(action.child), SIGTERM);
        break;
      case Supervisor::Act::kKill:
        log::Warning("child did not leave in time, killed", {{"child", role.name}});
        kill(pid_of_.at(action.child), SIGKILL);
        break;
    }
  }

  void Start(std::size_t child) {
    const ChildRole& role = roles_[child];
    if (role.worker >= 0) {
      scoreboard_.slot(role.worker).state.store(WorkerState::kStarting, std::memory_order_relaxed);
    }
    const pid_t pid = StartChild(role);
    if (pid < 0) {
      log::Error("cannot fork",
                 {{"child", role.name}, {"reason", std::generic_category().message(errno)}});
      if (role.worker >= 0) scoreboard_.Vacate(role.worker);
      supervisor_.Ended(child, /*planned=*/false, Clock::now());
      return;
    }
    child_of_[pid] = child;
    pid_of_[child] = pid;
    if (role.worker >= 0) {
      scoreboard_.slot(role.worker).pid.store(pid, std::memory_order_relaxed);
      scoreboard_.CountStart();
    }
  }

  // Also reaps orphans, which come to us when we are a container's first process.
  void Reap() {
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      const auto it = child_of_.find(pid);
      if (it == child_of_.end()) continue;
      const std::size_t child = it->second;
      child_of_.erase(it);
      pid_of_.erase(child);
      const ChildRole& role = roles_[child];
      // Only workers leave by themselves, to be recycled.
      const bool planned =
          role.worker >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
      if (!planned && !stopping_) {
        log::Error("child ended unexpectedly",
                   {{"child", role.name},
                    {"child_pid", pid},
                    {"exit", WIFEXITED(status) ? WEXITSTATUS(status) : 0},
                    {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0}});
      }
      if (role.worker >= 0) {
        scoreboard_.Vacate(role.worker);
        scoreboard_.CountEnd(/*crashed=*/!planned);
      }
      supervisor_.Ended(child, planned, Clock::now());
    }
  }

  const std::vector<ChildRole>& roles_;
  const Scoreboard& scoreboard_;
  Supervisor supervisor_;
  std::map<pid_t, std::size_t> child_of_;
  std::map<std::size_t, pid_t> pid_of_;
  bool stopping_ = false;
  bool interrupted_ = false;
};

}  // namespace

int RunMaster(const std::vector<ChildRole>& roles, const Supervisor::Options& options,
              const Scoreboard& scoreboard) {
  return Master(roles, options, scoreboard).Run();
}

}  // namespace inferpool::fcgi
