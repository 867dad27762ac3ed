// A worker process's serving loop: a fixed set of threads, each of which accepts a connection,
// answers it and takes the next. A thread that is busy does not accept, so the kernel's backlog is
// the only queue, and load finds the idle worker by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "fcgi/connection.h"
#include "fcgi/request.h"
#include "shared/scoreboard.h"

namespace inferpool::fcgi {

// Answers one request. Called from all threads at once; must not throw. The lane is the calling
// thread's, for counts of its own.
using Handler = std::function<Response(const Request&, Lane&)>;

struct ServeOptions {
  ReadLimits limits;
  std::uint64_t requests = 0;  // end after about this many; 0: never
};

// Serves connections of `listener` with one thread a lane until SIGTERM or until `options.requests`
// are answered; then stops accepting, answers every request that it has accepted, and returns.
// SIGTERM must be blocked in the calling thread. Marks the slot ready and draining.
void Serve(int listener, const ServeOptions& options, const Handler& handler, Slot& slot,
           std::span<Lane> lanes);

}  // namespace inferpool::fcgi
