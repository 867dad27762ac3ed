// The worker's main: makes all that answering a request needs, then serves. For a process of its
// own: it starts threads and gRPC.
#pragma once

#include "shared/board/master_wakeup.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"

namespace inferpool {

struct WorkerStart {
  const Config& config;  // of the worker's generation
  const Scoreboard& scoreboard;
  const fcgi::MasterWakeup& wakeup;
  int listener;
  int slot;
  bool successor;  // it replaces a worker that still serves
};

// Serves until SIGTERM, as fcgi::Serve does, which also says what signals must be blocked. A
// successor that cannot serve as well as the worker that it replaces, without a model server or
// without the keys, does not get ready. Returns the exit status.
int RunWorker(const WorkerStart& start);

}  // namespace inferpool
