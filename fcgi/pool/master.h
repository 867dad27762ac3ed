// The master process: one thread, one loop over signals, a clock, its children's pidfds, the
// descriptor by which they wake it (master_wakeup.h) and the control socket. The Supervisor
// decides, the master acts.
//
//   SIGTERM, SIGINT   drain and stop; a second SIGINT: at once
//   SIGHUP            read the configuration again
//   SIGUSR1           open the log file again, here and in the children
//   SIGUSR2           become the program that lies at our path now
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fcgi/pool/child.h"
#include "fcgi/pool/handover.h"
#include "fcgi/pool/pid_file.h"
#include "fcgi/pool/roles.h"
#include "shared/base/log.h"
#include "shared/board/master_wakeup.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool::fcgi {

struct MasterSetup {
  const RoleTable& roles;
  Config config;
  std::string config_file;
  ConfigOverrides overrides;
  std::string program;  // our own path, for SIGUSR2
  int listener;
  int sidecar_listener;
  bool socket_activated;  // the listener is systemd's: it stays when we go
  const Scoreboard& scoreboard;
  const MasterWakeup& wakeup;
  const PidFile& pid_file;  // of config.state
  std::optional<Identity> identity;
  // What a reload refuses of a configuration's files; OK when the processes can use them.
  std::function<absl::Status(const Config&)> check_files;
  // What to tell of the changed keys that nginx has to be told of; empty: nothing.
  std::function<std::string(const std::vector<std::string>& keys, const Config&)> nginx_remark = {};
  std::function<void()> each_second = [] {};  // to do beside; must not block
  std::optional<Handover> handover;           // from the program before
};

// What the configuration has logged, at least.
log::Level LogLevel(const Config& config);

// Runs until SIGTERM or SIGINT has stopped all children. Call BlockSignals before. The process must
// have no other thread. Returns the exit status: a failure when the state folder goes away before a
// worker is ready.
int RunMaster(MasterSetup setup);

}  // namespace inferpool::fcgi
