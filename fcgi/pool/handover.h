// What a master hands to its next program when it replaces itself (SIGUSR2): execve keeps the
// process, its children and the descriptors named here; the rest is in the scoreboard.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shared/base/status.h"
#include "shared/config/config.h"

namespace inferpool::fcgi {

struct Handover {
  struct Child {
    int role;
    int place;
    pid_t pid;
    std::uint32_t generation;
    bool ready;
    bool leaving;
  };

  int listener;
  int sidecar_listener;
  int scoreboard;
  int wakeup;
  int pid_file;  // locked; -1 from a program that had none
  bool socket_activated;
  std::uint32_t generation;
  // What only a start can change, as overrides of the configuration: it stays as it is.
  ConfigOverrides at_start;
  int workers;  // when their number was changed by `inferpool scale`; otherwise 0
  std::vector<Child> children;
};

std::string ToText(const Handover& handover);
absl::StatusOr<Handover> ParseHandover(const std::string& text);

// Takes what the environment holds, if this program was started by an older self.
std::optional<Handover> TakeHandover();

// Becomes the next program, with what it inherits; returns, with errno, only when that fails.
void ExecWithHandover(const std::vector<std::string>& command_line, const Handover& handover);

}  // namespace inferpool::fcgi
