// The mains of the processes that answer pictures: each makes all that this needs, then serves. For
// a process of its own: it starts threads and gRPC.
#pragma once

#include "shared/board/master_wakeup.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool {

struct ProcessStart {
  const Config& config;  // of the process's generation
  const Scoreboard& scoreboard;
  const fcgi::MasterWakeup& wakeup;
  int listener;
  int slot;
  bool successor;  // it replaces one that still serves
};

// Serves until SIGTERM, as fcgi::Serve does, which also says what signals must be blocked. A
// successor that cannot serve as well as the worker that it replaces, without a model server or
// without the keys, does not get ready. Returns the exit status.
int RunWorker(const ProcessStart& start);

// Answers the frames of cameras until SIGTERM, as streams::Ingest does, which also says what
// signals must be blocked. The listener is not used. Returns the exit status.
int RunIngest(const ProcessStart& start);

}  // namespace inferpool
