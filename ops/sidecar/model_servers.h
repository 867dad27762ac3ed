// Whether the model servers are ready, as the sidecar sees them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "ops/sidecar/health.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/config/config.h"
#include "worker/backend/rpc/client.h"
#include "worker/backend/rpc/readiness_checks.h"

namespace inferpool::ops {

// Asks them again and again, in a thread of its own; each for itself, so that a hung one delays
// nothing that is known of the others. Thread safe.
class ModelServers {
 public:
  explicit ModelServers(const Config& config);

  // Waits until each has answered, or has not in time: bounded.
  void AwaitFirst();

  // In the order of the configuration, each once.
  std::vector<ModelServer> Latest() const;

 private:
  struct Watched {
    ModelServer shown;
    bool asked = false;                     // at least once
    std::optional<TimePoint> good_since{};  // until then it was not
  };

  void Run(const std::stop_token& stop);
  void Take(std::size_t server, const absl::Status& ready, bool in_part);

  const backend::Client client_;
  mutable Mutex mutex_;
  std::condition_variable asked_;
  std::vector<Watched> servers_ ABSL_GUARDED_BY(mutex_);
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace inferpool::ops
