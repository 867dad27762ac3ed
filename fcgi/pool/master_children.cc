#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "fcgi/pool/crash_report.h"
#include "fcgi/pool/master_process.h"
#include "shared/base/log.h"

namespace inferpool::fcgi {
namespace {

std::string HowItEnded(int wait_status) {
  if (!WIFSIGNALED(wait_status)) {
    return fmt::format("exit status {}; the log says more", WEXITSTATUS(wait_status));
  }
  const int signal = WTERMSIG(wait_status);
  return fmt::format("signal {} ({}); the log says more", signal,
                     strsignal(signal));  // NOLINT(concurrency-mt-unsafe): one thread
}

}  // namespace

const Config& Master::ConfigOf(std::uint32_t generation) const {
  const auto config = configs_.find(generation);
  return config == configs_.end() ? config_ : config->second;
}

void Master::Perform(const Supervisor::Action& action) {
  if (action.act == Supervisor::Act::kStart) {
    Start(action.process, action.generation, action.successor);
    return;
  }
  if (action.act == Supervisor::Act::kGiveUp) {
    GiveUp(action);
    return;
  }
  Running* running = children_.Find(action.process);
  if (running == nullptr) return;
  switch (action.act) {
    case Supervisor::Act::kTerminate:
      running->leaving = true;
      Signal(*running, SIGTERM);
      break;
    case Supervisor::Act::kAbort:
      log::Error("aborting the stuck worker", {{"child", TitleOf(action.process)}});
      Signal(*running, SIGABRT);
      break;
    default:
      log::Warning(running->ready ? "child did not leave in time, killed"
                                  : "child did not get ready in time, killed",
                   {{"child", TitleOf(action.process)},
                    {"reason", running->ready ? "" : children_.NotReadyReason(action.process)}});
      Signal(*running, SIGKILL);
      break;
  }
}

void Master::Start(Supervisor::Process process, std::uint32_t generation, bool successor) {
  const Config& config = ConfigOf(generation);
  if (const auto slot = children_.SlotOf(process)) {
    board_.Occupy(*slot, generation, config.threads, Clock::now());
    board_.slot(*slot).quota = Quota();
    board_.slot(*slot).request_s = static_cast<std::uint32_t>(config.timeouts.request_s);
  } else {
    board_.Enter(process.role, process.place, generation, Clock::now());
  }
  const ChildOptions options{.title = TitleOf(process),
                             .keep = {setup_.listener, setup_.sidecar_listener, setup_.wakeup.fd()},
                             .identity = setup_.identity,
                             .core_dumps = config.core_dumps};
  const pid_t pid = StartChild(options, [&] { return RunChild(process, config, successor); });
  if (pid < 0) {
    log::Error("cannot fork", {{"child", TitleOf(process)}, {"reason", Reason(errno)}});
    children_.ClearRow(process);
    supervisor_.Ended(process, /*killed=*/false, Clock::now());
    return;
  }
  ProcessRow& row = children_.RowOf(process);
  row.pid = pid;
  Remember(pid, process, generation);
  // It cannot say so itself: it does not know that we exist.
  if (RoleOf(process).other_program) {
    row.state = ProcessState::kReady;
    setup_.wakeup.Wake();
  }
}

int Master::RunChild(Supervisor::Process process, const Config& config, bool successor) const {
  log::Init(LogLevel(config), TitleOf(process));
  ProcessRow& row = children_.RowOf(process);
  row.pid = getpid();  // before it can say that it is ready, which may be before we know it too
  return RoleOf(process).run({.config = config,
                              .scoreboard = board_,
                              .wakeup = setup_.wakeup,
                              .listener = setup_.listener,
                              .sidecar_listener = setup_.sidecar_listener,
                              .place = process.place,
                              .slot = children_.SlotOf(process).value_or(-1),
                              .successor = successor,
                              .row = row});
}

Running& Master::Remember(pid_t pid, Supervisor::Process process, std::uint32_t generation) {
  Running& running = children_.Add(pid, process, generation);
  Watch(running.pidfd.get());
  return running;
}

std::uint64_t Master::Quota() {
  const Config::Recycle& recycle = config_.recycle;
  if (recycle.requests == 0) return 0;
  std::uniform_int_distribution<std::uint64_t> jitter(0,
                                                      static_cast<std::uint64_t>(recycle.jitter));
  return static_cast<std::uint64_t>(recycle.requests) + jitter(random_);
}

void Master::Reap() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (check_ && pid == check_->pid()) {
      FinishCheck(status);
      continue;
    }
    if (auto running = children_.Take(pid)) Ended(pid, *running, status);
  }
}

void Master::Ended(pid_t pid, Running& running, int status) {
  // It may have got ready since the rows were read; then it served.
  NoteReady(running);
  const bool planned = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS &&
                       (running.process.role == kWorkerRole || running.leaving);
  const std::string reason = running.ready ? "" : children_.NotReadyReason(running.process);
  if (!planned && !running.ready) start_failure_ = reason.empty() ? HowItEnded(status) : reason;
  if (!planned && !stopping_) {
    log::Error("child ended unexpectedly", {{"child", TitleOf(running.process)},
                                            {"child_pid", pid},
                                            {"exit", WIFEXITED(status) ? WEXITSTATUS(status) : 0},
                                            {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0},
                                            {"reason", reason}});
  }
  if (const auto slot = children_.SlotOf(running.process)) {
    if (!planned) {
      board_.Record(ReportCrash(board_,
                                {.slot = *slot,
                                 .pid = pid,
                                 .wait_status = status,
                                 .stuck_thread_slot = running.stuck_thread_slot,
                                 .same_program = running.same_program},
                                config_.state + "/crashes", Clock::now()));
    }
  }
  board_.CountEnd(running.process.role, /*crashed=*/!planned);
  children_.ClearRow(running.process);
  const bool killed =
      WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !running.stuck_thread_slot;
  supervisor_.Ended(running.process, killed, Clock::now());
}

}  // namespace inferpool::fcgi
