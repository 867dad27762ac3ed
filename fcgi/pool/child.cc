#include "fcgi/pool/child.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <exception>
#include <system_error>

#include "fcgi/pool/process_title.h"
#include "shared/base/log.h"

namespace inferpool::fcgi {
namespace {

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : std::array{SIGTERM, SIGINT, SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2}) {
    sigaddset(&set, signal);
  }
  return set;
}

bool Become(const Identity& identity) {
  return initgroups(identity.name.c_str(), identity.group) == 0 && setgid(identity.group) == 0 &&
         setuid(identity.user) == 0;
}

void AllowCoreDumps(bool allow) {
  rlimit limit{};
  getrlimit(RLIMIT_CORE, &limit);
  limit.rlim_cur = allow ? limit.rlim_max : 0;
  setrlimit(RLIMIT_CORE, &limit);
  // The kernel takes the permission away from a process that has changed its user.
  if (allow) prctl(PR_SET_DUMPABLE, 1);
}

// Everything between the fork and the child's own work; false: it must not go on.
bool Prepare(const ChildOptions& options, pid_t master) {
  if (options.identity && !Become(*options.identity)) {
    log::Error("cannot change the user", {{"user", options.identity->name},
                                          {"reason", std::generic_category().message(errno)}});
    return false;
  }
  // After the change of user, which clears it.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != master) return false;  // the master died before the line above
  AllowCoreDumps(options.core_dumps);
  // A terminal's Ctrl-C goes to the whole foreground group; only the master shall act on it.
  setpgid(0, 0);
  CloseOthers(options.keep);
  SetProcessTitle(options.title);
  return true;
}

}  // namespace

absl::StatusOr<Identity> FindIdentity(const std::string& user, const std::string& group) {
  // One thread calls this, at the start.
  const passwd* entry = getpwnam(user.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (entry == nullptr) {
    return absl::NotFoundError(fmt::format("there is no user {}", user));
  }
  Identity identity{.user = entry->pw_uid, .group = entry->pw_gid, .name = user};
  if (group.empty()) return identity;
  const ::group* other = getgrnam(group.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (other == nullptr) {
    return absl::NotFoundError(fmt::format("there is no group {}", group));
  }
  identity.group = other->gr_gid;
  return identity;
}

void Exec(const std::vector<std::string>& command_line) {
  std::vector<char*> argv(command_line.size() + 1, nullptr);
  std::ranges::transform(command_line, argv.begin(),
                         [](const std::string& word) { return const_cast<char*>(word.c_str()); });
  execv(argv[0], argv.data());
}

void CloseOthers(std::vector<int> keep) {
  std::ranges::sort(keep);
  unsigned int next = STDERR_FILENO + 1;
  for (const int fd : keep) {
    const auto kept = static_cast<unsigned int>(fd);
    if (fd < 0 || kept < next) continue;
    if (kept > next) close_range(next, kept - 1, 0);
    next = kept + 1;
  }
  close_range(next, UINT_MAX, 0);
}

void BlockSignals() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void UnblockSignals() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

pid_t StartChild(const ChildOptions& options, const std::function<int()>& run) {
  const pid_t master = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;

  int status = EXIT_FAILURE;
  try {
    if (Prepare(options, master)) status = run();
  } catch (const std::exception& error) {
    log::Error("child failed", {{"child", options.title}, {"reason", error.what()}});
  }
  // No destructors of what was inherited from the master.
  _exit(status);
}

}  // namespace inferpool::fcgi
