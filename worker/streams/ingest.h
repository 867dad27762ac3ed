// A process that answers cameras' frames: its threads and their loop.
//
// One thread talks to Redis (reader.h) and takes frames; the others work on them. SIGTERM ends it:
// nothing more is taken, what is in work is answered, the leases are given back.
#pragma once

#include <span>

#include "shared/board/master_wakeup.h"
#include "shared/board/scoreboard.h"
#include "worker/http/exchange.h"

namespace inferpool::streams {

struct IngestContext {
  const Config& config;  // of the process's generation
  const http::Services& services;
  const Scoreboard& board;
  WorkerSlot& slot;
  std::span<ThreadSlot> thread_slots;  // as many as there may be threads
  const fcgi::MasterWakeup& wakeup;
};

// Serves until SIGTERM. Its slot says that it is ready, whether or not Redis is there; that it is
// due for replacement once it has answered its quota; and that it drains. SIGUSR1 opens the log
// file again. SIGTERM and SIGUSR1 must be blocked in the calling thread.
void Ingest(const IngestContext& context);

}  // namespace inferpool::streams
