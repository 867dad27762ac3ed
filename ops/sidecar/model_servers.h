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
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "shared/config/config.h"
#include "worker/backend/rpc/client.h"
#include "worker/backend/rpc/readiness_checks.h"

namespace inferpool::ops {

// Asks them again and again, in a thread of its own; each for itself, so that a hung one delays
// nothing that is known of the others. Where shared memory is a must (backend.transport), one that
// does not take it is not ready. Thread safe.
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
    std::optional<absl::Status> memory{};   // whether it takes shared memory; none: not known
    TimePoint ask_of_memory{};              // again
  };

  void Run(const std::stop_token& stop);
  void Take(std::size_t server, absl::Status ready, bool in_part);
  void AskOfMemory(const std::stop_token& stop, const std::string& domain);

  const backend::Client client_;
  const bool must_share_;
  mutable Mutex mutex_;
  std::condition_variable asked_;
  std::vector<Watched> servers_ ABSL_GUARDED_BY(mutex_);
  std::condition_variable_any wake_;
  std::jthread memory_thread_;  // where shared memory is a must
  std::jthread thread_;         // last: ends before what it uses
};

}  // namespace inferpool::ops
