#include "fcgi/pool/master.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <utility>

#include "fcgi/pool/master_process.h"
#include "fcgi/pool/worker_check.h"

namespace inferpool::fcgi {
namespace {

// A thread counts as stuck when it has worked at one step alone for longer than the whole request
// may take, and this: between steps the worker itself answers 504 at timeouts.request_s.
constexpr std::chrono::seconds kStuckMargin{1};
// Ticks come every second.
constexpr std::chrono::seconds kLateTick{3};

Supervisor::Options OptionsOf(const Config& config) {
  Supervisor::Options options;
  options.start = std::chrono::seconds(config.timeouts.start_s);
  options.drain = std::chrono::seconds(config.timeouts.drain_s);
  // Who is replaced while the pool goes on may finish whatever a request may take.
  options.leave =
      std::max(options.drain,
               std::chrono::milliseconds(std::chrono::seconds(config.timeouts.request_s + 2)));
  options.concurrent = config.recycle.concurrent;
  return options;
}

std::vector<Supervisor::Role> RolesOf(const MasterSetup& setup, std::uint32_t generation) {
  auto roles = SupervisedRoles(setup.roles, setup.config, setup.scoreboard.slots(), generation);
  if (!setup.handover) return roles;
  // A process that runs another program is not replaced because our program is new.
  for (const Handover::Child& child : setup.handover->children) {
    const auto role = static_cast<std::size_t>(child.role);
    if (role < roles.size() && setup.roles[role].other_program) {
      roles[role].generation = child.generation;
    }
  }
  return roles;
}

}  // namespace

Master::Master(MasterSetup setup)
    : setup_(std::move(setup)),
      board_(setup_.scoreboard),
      pool_(board_.pool()),
      config_(setup_.config),
      generation_(setup_.handover ? setup_.handover->generation : 1),
      supervisor_(RolesOf(setup_, generation_), OptionsOf(config_)) {
  configs_[generation_] = config_;
  SetRoles(setup_.roles, board_);
}

int Master::Run() {
  absl::StatusOr<ControlSocket> control = ControlSocket::Listen(ControlPath(config_.state));
  if (!control.ok()) {
    log::Error("cannot start", {{"reason", Message(control.status())}});
    return EXIT_FAILURE;
  }
  control_.emplace(*std::move(control));
  OpenDescriptors();
  Publish();
  if (setup_.handover) Adopt(*setup_.handover);
  while (true) {
    Act();
    if (supervisor_.Done()) break;
    std::array<epoll_event, 32> events{};
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), PollTimeoutMs());
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == signals_.get()) ReadSignals();
      if (fd == timer_.get()) Tick();
      if (fd == control_->fd()) {
        control_->Serve([this](const Json::Value& request) { return Answer(request); });
      }
    }
    setup_.wakeup.Clear();
    ReadRows();
    Reap();
    CheckStateFolder();
  }
  std::error_code error;
  std::filesystem::remove(ControlPath(config_.state), error);
  log::Info("stopped");
  return state_is_gone_ ? EXIT_FAILURE : EXIT_SUCCESS;
}

void Master::OpenDescriptors() {
  if (!ReadThreadTimes(getpid(), getpid())) {
    log::Warning(
        "this kernel does not count how long threads wait for a processor: on a busy "
        "machine a request that gets none may count as stuck");
  }
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2}) {
    sigaddset(&set, signal);
  }
  signals_ = FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  timer_ = FileDescriptor(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const itimerspec every_second{.it_interval = {.tv_sec = 1, .tv_nsec = 0},
                                .it_value = {.tv_sec = 1, .tv_nsec = 0}};
  timerfd_settime(timer_.get(), 0, &every_second, nullptr);
  epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  for (const int fd : {signals_.get(), timer_.get(), setup_.wakeup.fd(), control_->fd()}) {
    Watch(fd);
  }
}

void Master::Watch(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Master::Publish() {
  pool_.master = getpid();
  if (pool_.started_ns == 0) pool_.started_ns = ToNs(Clock::now());
  pool_.generation = generation_;
  pool_.stopping = 0;
  struct stat info {};
  if (fstat(setup_.listener, &info) == 0) pool_.listener_inode = info.st_ino;
  ApplyLive();
}

void Master::ApplyLive() {
  log::Init(LogLevel(config_), "master");
  supervisor_.SetOptions(OptionsOf(config_));
  for (std::size_t role = 0; role < setup_.roles.size(); ++role) {
    const int seats = setup_.roles[role].seats(config_);
    supervisor_.SetSeats(static_cast<int>(role), seats);
    pool_.roles[role].wanted = static_cast<std::uint32_t>(seats);
  }
  pool_.quarantine_ttl_ns = static_cast<std::uint64_t>(config_.quarantine.ttl_s) * 1'000'000'000U;
  listen(setup_.listener, config_.listen.backlog);
}

void Master::Adopt(const Handover& handover) {
  // Those that serve take their seats before those that are still on their way.
  std::vector<Handover::Child> children = handover.children;
  std::ranges::stable_sort(children, std::ranges::greater(), &Handover::Child::ready);
  for (const Handover::Child& child : children) {
    const Supervisor::Process process{child.role, child.place};
    if (!supervisor_.HasPlace(process)) {
      kill(child.pid, SIGTERM);  // a scoreboard with fewer rows: it is only awaited
      continue;
    }
    supervisor_.Adopt(process, child.generation, child.ready, child.leaving, Clock::now());
    Running& running = Remember(child.pid, process, child.generation);
    running.ready = child.ready;
    running.leaving = child.leaving;
    running.same_program = false;
    // Already there, unless the next program's scoreboard is a new one.
    ProcessRow& row = children_.RowOf(process);
    row.pid = child.pid;
    row.generation = child.generation;
    if (row.started_ns == 0) {
      row.started_ns = ToNs(Clock::now());
      row.state = child.ready ? ProcessState::kReady : ProcessState::kStarting;
    }
  }
  configs_[generation_] = config_;
  generation_ = ++last_generation_;
  configs_[generation_] = config_;
  scaled_ = handover.workers > 0;
  pool_.generation = generation_;
  supervisor_.Roll(RolesOfThisProgram(setup_.roles), generation_);
  reload_.Begin(generation_, "new program", setup_.program);
}

void Master::CheckStateFolder() {
  // Once the pool serves, a folder that goes away is no reason to stop: its sockets are open. One
  // that was taken over serves, though none of its workers may be ready just now.
  if (announced_ || setup_.handover || stopping_ || setup_.pid_file.InPlace()) return;
  log::Error("the state folder was moved or removed during the start", {{"state", config_.state}});
  state_is_gone_ = true;
  Stop(SIGTERM);
}

void Master::Act() {
  for (Supervisor::Actions actions = supervisor_.Due(Clock::now()); !actions.empty();
       actions = supervisor_.Due(Clock::now())) {
    for (const Supervisor::Action& action : actions) Perform(action);
  }
  for (std::size_t role = 0; role < setup_.roles.size(); ++role) {
    pool_.roles[role].backing_off =
        static_cast<std::uint32_t>(supervisor_.BackingOff(static_cast<int>(role), Clock::now()));
  }
  if (reload_.running() && supervisor_.Settled()) EndReload(ReloadRecord::kDone);
  if (!announced_ && children_.AnyWorkerReady()) {
    announced_ = true;
    sd_notify(0, "READY=1");
  }
}

int Master::PollTimeoutMs() const {
  const auto due = supervisor_.NextDue(Clock::now());
  if (!due) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clock::now());
  return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 60'000));
}

void Master::ReadSignals() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    switch (info.ssi_signo) {
      case SIGTERM:
      case SIGINT:
        Stop(static_cast<int>(info.ssi_signo));
        break;
      case SIGHUP:
        if (!stopping_) Reload();
        break;
      case SIGUSR1:
        ReopenLogs();
        break;
      case SIGUSR2:
        if (!stopping_) CheckNewProgram();
        break;
      default:
        break;  // SIGCHLD: Reap follows
    }
  }
}

void Master::Stop(int signal) {
  if (signal == SIGINT && interrupted_) {
    log::Warning("stopping at once");
    supervisor_.StopNow(Clock::now());
  } else {
    log::Info("stopping", {{"signal", strsignal(signal)}});  // NOLINT(concurrency-mt-unsafe)
    sd_notify(0, "STOPPING=1");
    if (IsTcp(config_.listen.socket)) {
      // There is no name to take away. Who waits is sent away at once: nginx asks another pool.
      shutdown(setup_.listener, SHUT_RDWR);
      pool_.stopping = 0;
    } else {
      // Nobody new is let in, and the workers take those who wait before they leave.
      if (!setup_.socket_activated) unlink(config_.listen.socket.c_str());
      // Not when the backlog is systemd's: it never ends, and the next pool takes it.
      pool_.stopping = setup_.socket_activated ? 0 : 1;
    }
    supervisor_.Stop(Clock::now());
  }
  stopping_ = true;
  interrupted_ = interrupted_ || signal == SIGINT;
}

void Master::ReopenLogs() {
  const bool reopened = log::Reopen();
  const int error = errno;
  // The children open it as the user that they are.
  if (reopened && setup_.identity && !config_.log.file.empty() &&
      fchown(STDERR_FILENO, setup_.identity->user, setup_.identity->group) != 0) {
    log::Error("cannot give the log file to the user", {{"reason", Reason(errno)}});
  }
  if (!reopened) log::Error("cannot open the log file again", {{"reason", Reason(error)}});
  for (const auto& [pid, running] : children_.all()) Signal(running, SIGUSR1);
  if (reopened) log::Info("log file opened again");
}

void Master::Tick() {
  std::uint64_t expired = 0;
  [[maybe_unused]] const ssize_t got = read(timer_.get(), &expired, sizeof(expired));
  const TimePoint now = Clock::now();
  // A tick that comes late comes to a pool that was frozen as a whole, which has not worked either.
  const bool late = now - latest_tick_ > kLateTick;
  latest_tick_ = now;
  for (auto& [pid, running] : children_.all()) {
    const auto slot = children_.SlotOf(running.process);
    if (slot && running.ready) Look(pid, *slot, running, now, late);
  }
  if (check_) check_->Tick(now);
  setup_.each_second();
  const Totals totals = board_.Sum(now);
  sd_notifyf(0, "WATCHDOG=1\nSTATUS=%lu of %d workers ready, %lu requests in work",
             totals.workers().by_state[static_cast<std::size_t>(ProcessState::kReady)],
             config_.workers, totals.in_work);
}

void Master::Look(pid_t pid, int slot, Running& running, TimePoint now, bool late) {
  const auto limit = std::chrono::seconds(board_.slot(slot).request_s) + kStuckMargin;
  const InWork in_work = running.thread_slots.Look(
      board_.used_thread_slots(slot), [pid](pid_t thread) { return ReadThreadTimes(pid, thread); },
      limit, now, late);
  if (in_work.stuck.empty()) {
    const auto age = now - FromNs(children_.RowOf(running.process).started_ns);
    if (IsDue(config_.recycle, age, pid)) supervisor_.Replace(running.process);
    return;
  }
  if (!running.stuck_thread_slot) {
    // What a stopped process has in work is late for no reason of its own.
    running.was_stopped = IsStopped(pid);
    log::Error("worker has stuck threads, it is being replaced",
               {{"child", TitleOf(running.process)},
                {"worker", slot},
                {"child_pid", pid},
                {"stuck", in_work.stuck.size()},
                {"stopped", running.was_stopped}});
  }
  running.stuck_thread_slot = in_work.stuck.front().thread_slot;
  if (!running.was_stopped) {
    for (const InWork::Stuck& stuck : in_work.stuck) Quarantine(stuck.task, now);
  }
  supervisor_.Stuck(running.process, now);
  if (in_work.busy == static_cast<int>(in_work.stuck.size())) {
    supervisor_.NothingElseInWork(running.process, now);
  }
}

void Master::Quarantine(const Task& task, TimePoint now) const {
  const std::uint64_t ttl = pool_.quarantine_ttl_ns;
  if (ttl == 0) return;
  pool_.quarantine.Enter({.digest = task.digest,
                          .model = task.model,
                          .request_id = task.request_id,
                          .until_ns = ToNs(now) + static_cast<std::int64_t>(ttl)});
}

void Master::ReadRows() {
  for (auto& [pid, running] : children_.all()) {
    NoteReady(running);
    const auto slot = children_.SlotOf(running.process);
    if (slot && board_.slot(*slot).due != 0) {
      supervisor_.Replace(running.process);
    }
  }
}

void Master::NoteReady(Running& running) {
  const ProcessRow& row = children_.RowOf(running.process);
  if (running.ready || row.state.load(std::memory_order_acquire) != ProcessState::kReady) return;
  running.ready = true;
  supervisor_.Ready(running.process, Clock::now());
}

log::Level LogLevel(const Config& config) {
  log::Level level = log::Level::kInfo;
  log::ParseLevel(config.log.level, level);
  return level;
}

int RunMaster(MasterSetup setup) {
  return Master(std::move(setup)).Run();
}

}  // namespace inferpool::fcgi
