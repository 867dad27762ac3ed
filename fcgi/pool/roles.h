// The roles of a pool's processes, as the supervisor numbers them.
#pragma once

#include <fmt/format.h>

#include <string>

#include "fcgi/pool/supervisor.h"

namespace inferpool::fcgi {

enum Role : int { kWorker, kSidecar, kModelServer };

// As ps and the log show it: "worker 3".
inline std::string Title(Supervisor::Process process) {
  if (process.role == kWorker) return fmt::format("worker {}", process.place);
  return process.role == kSidecar ? "sidecar" : "modelserver";
}

}  // namespace inferpool::fcgi
