// Starting a child process of the master: what it inherits, and as whom it runs.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "shared/base/status.h"

namespace inferpool::fcgi {

// A user and group to run as.
struct Identity {
  uid_t user;
  gid_t group;
  std::string name;
};

// NOT_FOUND when there is no such user or group. An empty `group` is the user's own.
absl::StatusOr<Identity> FindIdentity(const std::string& user, const std::string& group);

struct ChildOptions {
  std::string title;      // as ps shows it after "inferpool: "
  std::vector<int> keep;  // descriptors that it inherits besides the standard three
  std::optional<Identity> identity = {};
  bool core_dumps = false;
};

// Forks and calls `run` in the child; what it returns is the exit status. The signals that the
// master handles are blocked when it is called, so that none is lost before they are awaited. The
// child gets SIGTERM when the master dies. Returns the pid, or -1 with errno.
pid_t StartChild(const ChildOptions& options, const std::function<int()>& run);

// Becomes the program that the command line's first word names; returns, with errno, only when that
// fails.
void Exec(const std::vector<std::string>& command_line);

// Closes every descriptor from 3 on that is not in `keep`.
void CloseOthers(std::vector<int> keep);

// The signals that the master and its children take through signalfd.
void BlockSignals();

// Undoes BlockSignals, for a child that handles signals in the ordinary way or executes a program.
void UnblockSignals();

}  // namespace inferpool::fcgi
