// What a worker has for routes, in one place.
#pragma once

#include "shared/board/route_counts.h"
#include "worker/routes/latency_window.h"
#include "worker/routes/live_routes.h"

namespace inferpool::routes {

// Thread safe.
struct RouteService {
  LiveRoutes live;
  ModelTimes times = {};
  RouteTable& counts;
};

}  // namespace inferpool::routes
