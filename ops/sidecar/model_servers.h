// Whether the model servers are ready, as the sidecar sees them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "ops/sidecar/health.h"
#include "ops/sidecar/memory_readiness.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "shared/config/config.h"
#include "worker/backend/rpc/client.h"
#include "worker/backend/rpc/readiness_checks.h"

namespace inferpool::ops {

// Asks them again and again, in threads of its own; each for itself, so that a hung one delays
// nothing that is known of the others. Where shared memory is a must (backend.transport), one that
// does not take it is not ready (memory_readiness.h). Thread safe.
class ModelServers {
 public:
  explicit ModelServers(const Config& config);
  ~ModelServers();
  ModelServers(const ModelServers&) = delete;
  ModelServers& operator=(const ModelServers&) = delete;

  // Waits until each has answered, or has not in time: bounded.
  void AwaitFirst();

  // In the order of the configuration, each once.
  std::vector<ModelServer> Latest() const;

 private:
  struct Watched {
    ModelServer shown;
    MemoryReadiness memory;                 // where it is a must
    bool asked = false;                     // at least once
    std::optional<TimePoint> good_since{};  // until then it was not
  };

  void Run(const std::stop_token& stop);
  void Take(std::size_t server, absl::Status ready, bool in_part);
  void AskOfMemory(const std::stop_token& stop, std::size_t server, const std::string& domain);

  const backend::Client client_;
  const bool must_share_;
  mutable Mutex mutex_;
  std::condition_variable asked_;
  std::vector<Watched> servers_ ABSL_GUARDED_BY(mutex_);
  std::condition_variable_any wake_;
  std::vector<std::jthread> memory_threads_;  // where shared memory is a must; one a server
  std::jthread thread_;                       // last: ends before what it uses
};

}  // namespace inferpool::ops
