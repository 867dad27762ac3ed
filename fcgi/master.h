// The master process: starts the children that its roles describe and keeps them running until it
// is told to stop. One thread, one loop over signals; the Supervisor decides, the master acts.
#pragma once

#include <vector>

#include "fcgi/child.h"
#include "fcgi/supervisor.h"
#include "shared/scoreboard.h"

namespace inferpool::fcgi {

// Runs until SIGTERM or SIGINT has stopped all children; a second SIGINT kills them. Call
// BlockSignals before. The process must have no other thread. Returns the exit status.
int RunMaster(const std::vector<ChildRole>& roles, const Supervisor::Options& options,
              const Scoreboard& scoreboard);

}  // namespace inferpool::fcgi
