#include "fcgi/master.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "fcgi/children.h"
#include "fcgi/config_change.h"
#include "fcgi/control.h"
#include "fcgi/crash_report.h"
#include "fcgi/inspection.h"
#include "fcgi/next_program.h"
#include "fcgi/reload_log.h"
#include "fcgi/roles.h"
#include "fcgi/supervisor.h"
#include "shared/config_keys.h"
#include "shared/file_descriptor.h"
#include "shared/log.h"

namespace inferpool::fcgi {
namespace {

using Process = Supervisor::Process;

// How long a request may be over its time before its thread counts as stuck: the worker itself
// answers 504 at timeouts.request_s.
constexpr std::chrono::seconds kStuckMargin{1};
// Configurations that are kept, the latest ones: a role may go back to an older generation.
constexpr std::size_t kMostConfigs = 32;
// Ticks come every second.
constexpr std::chrono::seconds kLateTick{3};
std::string Reason(int error) {
  return std::generic_category().message(error);
}

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

std::vector<Supervisor::Role> Roles(const Config& config, const Scoreboard& board,
                                    std::uint32_t generation,
                                    const std::optional<Inheritance>& inheritance) {
  // A new program of ours is no reason to replace the model server, which is another one.
  std::uint32_t of_model_server = generation;
  if (inheritance) {
    for (const Inheritance::Child& child : inheritance->children) {
      if (child.role == kModelServer) of_model_server = child.generation;
    }
  }
  return {{.seats = config.workers,
           .places = board.slots(),
           .generation = generation,
           .successor_first = true,
           .leaves_last = false},
          {.seats = 1,
           .places = static_cast<int>(kSidecarRows),
           .generation = generation,
           .successor_first = true,
           .leaves_last = true,
           .rolls_last = true},
          {.seats = config.modelserver.enabled ? 1 : 0,
           .places = 1,
           .generation = of_model_server,
           .successor_first = false,
           .leaves_last = true}};
}

class Master {
 public:
  explicit Master(MasterSetup setup)
      : setup_(std::move(setup)),
        board_(setup_.scoreboard),
        pool_(board_.pool()),
        config_(setup_.config),
        generation_(setup_.inheritance ? setup_.inheritance->generation : 1),
        supervisor_(Roles(config_, board_, generation_, setup_.inheritance), OptionsOf(config_)) {
    configs_[generation_] = config_;
  }

  int Run() {
    absl::StatusOr<ControlSocket> control = ControlSocket::Listen(ControlPath(config_.state));
    if (!control.ok()) {
      log::Error("cannot start", {{"reason", Message(control.status())}});
      return EXIT_FAILURE;
    }
    control_.emplace(*std::move(control));
    OpenDescriptors();
    Publish();
    if (setup_.inheritance) Adopt(*setup_.inheritance);
    WritePidFile();
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
      setup_.notice.Clear();
      ReadRows();
      Reap();
    }
    RemoveFiles();
    log::Info("stopped");
    return EXIT_SUCCESS;
  }

 private:
  // ------------------------------------------------------------------- set-up

  void OpenDescriptors() {
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
    for (const int fd : {signals_.get(), timer_.get(), setup_.notice.fd(), control_->fd()}) {
      Watch(fd);
    }
  }

  void Watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  // The pool's part of the scoreboard.
  void Publish() {
    pool_.master = getpid();
    if (pool_.started_ns == 0) pool_.started_ns = ToNs(Clock::now());
    pool_.generation = generation_;
    pool_.stopping = 0;
    struct stat info {};
    if (fstat(setup_.listener, &info) == 0) pool_.listener_inode = info.st_ino;
    ApplyLive();
  }

  // What the master alone uses of the configuration.
  void ApplyLive() {
    log::Level level = log::Level::kInfo;
    log::ParseLevel(config_.log.level, level);
    log::Init(level, "master");
    supervisor_.SetOptions(OptionsOf(config_));
    supervisor_.SetSeats(kWorker, config_.workers);
    pool_.wanted_workers = static_cast<std::uint32_t>(config_.workers);
    pool_.quarantine_ttl_ns = static_cast<std::uint64_t>(config_.quarantine.ttl_s) * 1'000'000'000U;
    listen(setup_.listener, config_.listen.backlog);
  }

  void Adopt(const Inheritance& inheritance) {
    // Those that serve take their seats before those that are still on their way.
    std::vector<Inheritance::Child> children = inheritance.children;
    std::ranges::stable_sort(children, std::ranges::greater(), &Inheritance::Child::ready);
    for (const Inheritance::Child& child : children) {
      const Process process{child.role, child.place};
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
    scaled_ = inheritance.workers > 0;
    pool_.generation = generation_;
    supervisor_.Roll({kSidecar, kWorker}, generation_);
    reload_.Begin(generation_, "new program", setup_.program);
  }

  void WritePidFile() const {
    const std::string path = config_.state + "/inferpool.pid";
    const std::string fresh = path + ".new";
    std::ofstream(fresh) << getpid() << "\n";
    std::error_code error;
    std::filesystem::rename(fresh, path, error);
  }

  void RemoveFiles() const {
    std::error_code error;
    std::filesystem::remove(ControlPath(config_.state), error);
    std::filesystem::remove(config_.state + "/inferpool.pid", error);
  }

  // --------------------------------------------------------------------- loop

  // Acting can fail (no process to be had), which is an event of its own: until it is quiet.
  void Act() {
    for (Supervisor::Actions actions = supervisor_.Due(Clock::now()); !actions.empty();
         actions = supervisor_.Due(Clock::now())) {
      for (const Supervisor::Action& action : actions) Perform(action);
    }
    pool_.backing_off = static_cast<std::uint32_t>(supervisor_.BackingOff(kWorker, Clock::now()));
    if (reload_.running() && supervisor_.Settled()) EndReload(ReloadRecord::kDone);
    if (!announced_ && children_.AnyWorkerReady()) {
      announced_ = true;
      sd_notify(0, "READY=1");
    }
  }

  int PollTimeoutMs() const {
    const auto due = supervisor_.NextDue(Clock::now());
    if (!due) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clock::now());
    return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 60'000));
  }

  void ReadSignals() {
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
          if (!stopping_) CheckNextProgram();
          break;
        default:
          break;  // SIGCHLD: Reap follows
      }
    }
  }

  void Stop(int signal) {
    if (signal == SIGINT && interrupted_) {
      log::Warning("stopping at once");
      supervisor_.StopNow(Clock::now());
    } else {
      log::Info("stopping", {{"signal", strsignal(signal)}});  // NOLINT(concurrency-mt-unsafe)
      sd_notify(0, "STOPPING=1");
      // Nobody new is let in, and the workers take those who wait before they leave.
      if (!setup_.socket_activated) unlink(config_.listen.socket.c_str());
      // Not when the backlog is systemd's: it never ends, and the next pool takes it.
      pool_.stopping = setup_.socket_activated ? 0 : 1;
      supervisor_.Stop(Clock::now());
    }
    stopping_ = true;
    interrupted_ = interrupted_ || signal == SIGINT;
  }

  void ReopenLogs() {
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

  void Tick() {
    std::uint64_t expired = 0;
    [[maybe_unused]] const ssize_t got = read(timer_.get(), &expired, sizeof(expired));
    const TimePoint now = Clock::now();
    // A tick that comes late comes to a pool that was frozen as a whole, which has not worked
    // either: it gets this second to answer what is over its time.
    const bool frozen = now - latest_tick_ > kLateTick;
    latest_tick_ = now;
    for (auto& [pid, running] : children_.all()) {
      if (running.process.role == kWorker && running.ready && !frozen) Look(pid, running, now);
    }
    if (check_) check_->Tick(now);
    const Totals totals = board_.Sum(now);
    sd_notifyf(0, "WATCHDOG=1\nSTATUS=%lu of %d workers ready, %lu requests in work",
               totals.workers_by_state[static_cast<std::size_t>(ProcessState::kReady)],
               config_.workers, totals.in_work);
  }

  void Look(pid_t pid, Running& running, TimePoint now) {
    const auto limit =
        std::chrono::seconds(board_.slot(running.process.place).request_s) + kStuckMargin;
    const InWork in_work = Inspect(board_.used_lanes(running.process.place), limit, now);
    if (in_work.stuck.empty()) {
      const auto age = now - FromNs(children_.RowOf(running.process).started_ns);
      if (IsDue(config_.recycle, age, pid)) supervisor_.Replace(running.process);
      return;
    }
    if (!running.stuck) {
      // What a stopped process has in work is late for no reason of its own.
      running.was_stopped = IsStopped(pid);
      log::Error("worker has stuck threads, it is being replaced",
                 {{"worker", running.process.place},
                  {"child_pid", pid},
                  {"stuck", in_work.stuck.size()},
                  {"stopped", running.was_stopped}});
    }
    running.stuck = true;
    if (!running.was_stopped) {
      for (const Task& task : in_work.stuck) Quarantine(task, now);
    }
    supervisor_.Stuck(running.process, now);
    if (in_work.busy == static_cast<int>(in_work.stuck.size())) {
      supervisor_.NothingElseInWork(running.process, now);
    }
  }

  void Quarantine(const Task& task, TimePoint now) const {
    const std::uint64_t ttl = pool_.quarantine_ttl_ns;
    if (ttl == 0) return;
    pool_.quarantine.Enter({.digest = task.digest,
                            .model = task.model,
                            .request_id = task.request_id,
                            .until_ns = ToNs(now) + static_cast<std::int64_t>(ttl)});
  }

  // What the children have written into their rows.
  void ReadRows() {
    for (auto& [pid, running] : children_.all()) {
      const ProcessRow& row = children_.RowOf(running.process);
      const ProcessState state = row.state.load(std::memory_order_acquire);
      if (!running.ready && state == ProcessState::kReady) {
        running.ready = true;
        supervisor_.Ready(running.process, Clock::now());
      }
      if (running.process.role == kWorker && board_.slot(running.process.place).due != 0) {
        supervisor_.Replace(running.process);
      }
    }
  }

  // ----------------------------------------------------------------- children

  const Config& ConfigOf(std::uint32_t generation) const {
    const auto config = configs_.find(generation);
    return config == configs_.end() ? config_ : config->second;
  }

  void Perform(const Supervisor::Action& action) {
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
        log::Error("aborting the stuck worker", {{"child", Title(action.process)}});
        Signal(*running, SIGABRT);
        break;
      default:
        log::Warning(running->ready ? "child did not leave in time, killed"
                                    : "child did not get ready in time, killed",
                     {{"child", Title(action.process)}});
        Signal(*running, SIGKILL);
        break;
    }
  }

  void Start(Process process, std::uint32_t generation, bool successor) {
    const Config& config = ConfigOf(generation);
    ProcessRow& row = children_.RowOf(process);
    if (process.role == kWorker) {
      board_.Occupy(process.place, generation, config.threads, Clock::now());
      board_.slot(process.place).quota = Quota();
      board_.slot(process.place).request_s = static_cast<std::uint32_t>(config.timeouts.request_s);
    } else {
      row.generation = generation;
      row.started_ns = ToNs(Clock::now());
      row.state = ProcessState::kStarting;
    }
    const ChildOptions options{
        .title = Title(process),
        .keep = {setup_.listener, setup_.sidecar_listener, setup_.notice.fd()},
        .identity = setup_.identity,
        .core_dumps = config.core_dumps};
    const pid_t pid = StartChild(options, [&] { return RunChild(process, config, successor); });
    if (pid < 0) {
      log::Error("cannot fork", {{"child", Title(process)}, {"reason", Reason(errno)}});
      children_.ClearRow(process);
      supervisor_.Ended(process, Supervisor::End::kCrashed, Clock::now());
      return;
    }
    row.pid = pid;
    Remember(pid, process, generation);
    // It cannot say so itself: it does not know that we exist.
    if (process.role == kModelServer) row.state = ProcessState::kReady;
    if (process.role == kModelServer) setup_.notice.Ring();
  }

  int RunChild(Process process, const Config& config, bool successor) const {
    const Programs& programs = setup_.programs;
    if (process.role == kWorker) {
      return programs.worker(config, setup_.notice, process.place, successor);
    }
    if (process.role == kSidecar) return programs.sidecar(config, setup_.notice, process.place);
    return programs.model_server(config);
  }

  Running& Remember(pid_t pid, Process process, std::uint32_t generation) {
    Running& running = children_.Add(pid, process, generation);
    Watch(running.pidfd.get());
    return running;
  }

  // The planned number of requests of one worker's life; 0: no end.
  std::uint64_t Quota() {
    const Config::Recycle& recycle = config_.recycle;
    if (recycle.requests == 0) return 0;
    std::uniform_int_distribution<std::uint64_t> jitter(0,
                                                        static_cast<std::uint64_t>(recycle.jitter));
    return static_cast<std::uint64_t>(recycle.requests) + jitter(random_);
  }

  // Also reaps orphans, which come to us when we are a container's first process.
  void Reap() {
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      if (check_ && pid == check_->pid()) {
        FinishCheck(status);
        continue;
      }
      if (const auto running = children_.Take(pid)) Ended(pid, *running, status);
    }
  }

  void Ended(pid_t pid, const Running& running, int status) {
    const bool planned = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS &&
                         (running.process.role == kWorker || running.leaving);
    if (!planned && !stopping_) {
      log::Error("child ended unexpectedly",
                 {{"child", Title(running.process)},
                  {"child_pid", pid},
                  {"exit", WIFEXITED(status) ? WEXITSTATUS(status) : 0},
                  {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0}});
    }
    if (running.process.role == kWorker) {
      if (!planned) {
        board_.Record(ReportCrash(board_,
                                  {.slot = running.process.place,
                                   .pid = pid,
                                   .wait_status = status,
                                   .stuck = running.stuck,
                                   .same_program = running.same_program},
                                  config_.state + "/crashes", Clock::now()));
      }
      board_.CountEnd(/*crashed=*/!planned);
    }
    children_.ClearRow(running.process);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !running.stuck;
    supervisor_.Ended(running.process,
                      planned  ? Supervisor::End::kPlanned
                      : killed ? Supervisor::End::kKilled
                               : Supervisor::End::kCrashed,
                      Clock::now());
  }

  // ------------------------------------------------------------------- reload

  void EndReload(ReloadRecord::Outcome outcome, std::string_view detail = {}) {
    reload_.End(outcome, detail);
    if (outcome == ReloadRecord::kDone) proved_generation_ = generation_;
    while (configs_.size() > kMostConfigs) configs_.erase(configs_.begin());
  }

  Json::Value Refuse(std::string_view what, const std::vector<std::string>& problems) {
    const std::string all = fmt::format("{}", fmt::join(problems, "; "));
    reload_.Refused(generation_, what, all);
    Json::Value answer;
    answer["ok"] = false;
    answer["problems"] = Json::arrayValue;
    for (const std::string& problem : problems) answer["problems"].append(problem);
    return answer;
  }

  Json::Value Reload() {
    const ConfigResult result = LoadConfig(setup_.config_file, setup_.overrides);
    if (!result.problems.empty()) {
      std::vector<std::string> problems;
      for (const ConfigProblem& problem : result.problems) {
        problems.push_back(Format(problem, setup_.config_file));
      }
      return Refuse("reload", problems);
    }
    return Apply("reload", result.config, /*scaled=*/false);
  }

  Json::Value Apply(std::string_view what, const Config& config, bool scaled) {
    const ConfigChange change = Compare(config_, config);
    if (!change.at_start.empty()) {
      return Refuse(what, {fmt::format("{}: cannot change while the pool runs; start it again",
                                       fmt::join(change.at_start, ", "))});
    }
    std::error_code error;
    if (config.modelserver.enabled &&
        !std::filesystem::is_directory(config.modelserver.repository, error)) {
      return Refuse(what, {fmt::format("modelserver.repository: {} is no folder",
                                       config.modelserver.repository)});
    }
    if (config.threads > board_.lanes_per_slot()) {
      return Refuse(
          what, {fmt::format("threads: is {}, allowed are {} while the pool runs; start it again",
                             config.threads, board_.lanes_per_slot())});
    }
    if (!change.roll.empty()) {
      generation_ = ++last_generation_;
      pool_.generation = generation_;
      supervisor_.Roll(change.roll, generation_);
    }
    scaled_before_ = std::exchange(scaled_, scaled);
    config_ = config;
    configs_[generation_] = config;
    ApplyLive();
    RenewQuotas(change);
    const std::string detail = change.Describe();
    reload_.Begin(generation_, what, detail);
    Json::Value answer;
    answer["ok"] = true;
    answer["generation"] = generation_;
    answer["detail"] = detail;
    return answer;
  }

  void RenewQuotas(const ConfigChange& change) {
    const bool changed = std::ranges::any_of(
        change.keys, [](const std::string& key) { return key.starts_with("recycle."); });
    if (!changed) return;
    for (const auto& [pid, running] : children_.all()) {
      if (running.process.role == kWorker) board_.slot(running.process.place).quota = Quota();
    }
  }

  void GiveUp(const Supervisor::Action& action) {
    const std::uint32_t failed = generation_;
    // The role that failed may go further back than the pool, having had nothing to change in
    // between, or less far, to a generation that was on its way when this one began.
    generation_ = std::max(proved_generation_, action.generation);
    config_ = ConfigOf(generation_);
    scaled_ = scaled_before_;
    pool_.generation = generation_;
    ApplyLive();
    EndReload(ReloadRecord::kGivenUp,
              fmt::format("generation {}: {} did not get ready within timeouts.start_s ({} s); "
                          "generation {} stays",
                          failed, Title(action.process), config_.timeouts.start_s, generation_));
  }

  Json::Value Scale(int workers) {
    if (workers < 1 || workers > config_.workers_max) {
      return Refuse("scale", {fmt::format("{} workers: allowed are 1 to {} (workers_max)", workers,
                                          config_.workers_max)});
    }
    Config config = config_;
    config.workers = workers;
    Json::Value answer = Apply("scale", config, /*scaled=*/true);
    const ConfigResult file = LoadConfig(setup_.config_file, setup_.overrides);
    if (answer["ok"].asBool() && file.problems.empty() && file.config.workers != workers) {
      answer["detail"] =
          fmt::format("{}; {} says {} workers, and a reload goes back to that",
                      answer["detail"].asString(), setup_.config_file, file.config.workers);
    }
    return answer;
  }

  Json::Value Answer(const Json::Value& request) {
    Json::Value answer;
    const Json::Value& command = request["command"];
    const std::string name = command.isString() ? command.asString() : "";
    if (stopping_) {
      answer["ok"] = false;
      answer["problems"].append("the pool is stopping");
      return answer;
    }
    if (name == "reload") return Reload();
    if (name == "scale" && request["workers"].isInt()) return Scale(request["workers"].asInt());
    if (name == "quarantine clear") {
      pool_.quarantine.Clear();
      log::Info("quarantine cleared");
      answer["ok"] = true;
      return answer;
    }
    answer["ok"] = false;
    answer["problems"].append("unknown command");
    return answer;
  }

  // -------------------------------------------------------------- new program

  std::vector<std::string> Arguments(const char* command) const {
    return CommandLine(setup_.program, command, setup_.config_file, setup_.overrides);
  }

  void CheckNextProgram() {
    if (check_) return;
    absl::StatusOr<ProgramCheck> check = ProgramCheck::Start(Arguments("check"));
    if (!check.ok()) {
      Refuse("new program", {std::string(Message(check.status()))});
      return;
    }
    check_.emplace(*std::move(check));
  }

  void FinishCheck(int wait_status) {
    const absl::Status result = check_->Result(wait_status);
    check_.reset();
    if (!result.ok()) {
      Refuse("new program", {std::string(Message(result))});
    } else if (!stopping_) {
      BecomeNextProgram();
    }
  }

  void BecomeNextProgram() {
    Inheritance inheritance{.listener = setup_.listener,
                            .sidecar_listener = setup_.sidecar_listener,
                            .scoreboard = board_.file(),
                            .notice = setup_.notice.fd(),
                            .socket_activated = setup_.socket_activated,
                            .generation = last_generation_,
                            .at_start = {},
                            .workers = scaled_ ? config_.workers : 0,
                            .children = {}};
    for (const ConfigKey& key : ConfigKeys()) {
      if (key.reach == Reach::kStart) inheritance.at_start.push_back(ToOverride(key, config_));
    }
    for (const auto& [pid, running] : children_.all()) {
      inheritance.children.push_back({.role = running.process.role,
                                      .place = running.process.place,
                                      .pid = pid,
                                      .generation = running.generation,
                                      .ready = running.ready,
                                      .leaving = running.leaving});
    }
    log::Info("becoming the new program", {{"program", setup_.program}});
    ExecWithInheritance(Arguments("serve"), inheritance);
    Refuse("new program", {fmt::format("{}: {}", setup_.program, Reason(errno))});
  }

  MasterSetup setup_;
  const Scoreboard& board_;
  Pool& pool_;
  Config config_;  // the wanted one
  std::uint32_t generation_;
  std::uint32_t last_generation_ = generation_;
  std::uint32_t proved_generation_ = generation_;  // what a given-up one goes back to
  std::map<std::uint32_t, Config> configs_;        // by generation, while any of its processes runs
  Supervisor supervisor_;
  Children children_{board_};
  std::mt19937_64 random_{std::random_device{}()};

  FileDescriptor epoll_;
  FileDescriptor signals_;
  FileDescriptor timer_;
  std::optional<ControlSocket> control_;

  ReloadLog reload_{pool_};
  bool scaled_ = false;  // `workers` is not the file's
  bool scaled_before_ = false;
  std::optional<ProgramCheck> check_;
  TimePoint latest_tick_ = Clock::now();
  bool announced_ = false;
  bool stopping_ = false;
  bool interrupted_ = false;
};

}  // namespace

int RunMaster(MasterSetup setup) {
  return Master(std::move(setup)).Run();
}

}  // namespace inferpool::fcgi
