// The scoreboard's totals as Prometheus text.
#pragma once

#include <string>

#include "ops/health.h"
#include "shared/scoreboard.h"

namespace inferpool::ops {

// Prometheus' text format 0.0.4. Every metric is there from the start, at zero.
std::string Exposition(const Totals& totals, const Health& health);

}  // namespace inferpool::ops
