// The rules process: it tells receivers of what cameras' answers have that a rule of the
// configuration is about. It takes nothing from those who work on frames: it reads their answers
// from Redis as anybody can.
#pragma once

#include <functional>

#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool::rules {

struct RulesStart {
  const Config& config;
  const Scoreboard& scoreboard;
  ProcessRow& row;
};

// Goes by the rules until SIGTERM, whether or not Redis is there, and calls `ready` when it begins
// to. SIGUSR1 opens the log file again. Both signals must be blocked. Needs a process of its own,
// because it starts threads. Returns the exit status.
int RunRules(const RulesStart& start, const std::function<void()>& ready);

}  // namespace inferpool::rules
