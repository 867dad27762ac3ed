// The scoreboard's totals as Prometheus text.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "ops/sidecar/health.h"
#include "ops/sidecar/listen_queue.h"
#include "shared/board/scoreboard.h"

namespace inferpool::ops {

// Returns Prometheus text of format 0.0.4. Every metric is there from the start, at zero. `queue`
// is nullopt when it cannot be read. `cameras` are told by name.
std::string Exposition(const Totals& totals, const Health& health,
                       const std::optional<ListenQueue>& queue = std::nullopt,
                       std::span<const StreamCamera> cameras = {});

}  // namespace inferpool::ops
