// Asks the model servers which models they have ready: every 5 s, and when somebody wants to know
// at once. Fills the directory by which calls choose their server.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "worker/backend/rpc/model_directory.h"
#include "worker/backend/rpc/target.h"

namespace inferpool::backend {

// Each server is asked in a thread of its own, so that a hung one delays nothing that is known of
// the others. Thread safe.
class ModelWatch {
 public:
  static constexpr std::chrono::seconds kEvery{5};

  // `by_itself` false: the servers are asked only by LookAgain. `targets` and `directory` must
  // outlive it.
  ModelWatch(std::span<const std::unique_ptr<Target>> targets, ModelDirectory& directory,
             bool by_itself);
  // Ends soon, whatever the servers do.
  ~ModelWatch();
  ModelWatch(const ModelWatch&) = delete;
  ModelWatch& operator=(const ModelWatch&) = delete;

  struct Look {
    std::function<bool(std::size_t server)> is_known;   // true: it is not asked
    std::function<bool(std::size_t server)> waits_for;  // of those that are asked
    bool waits_for_hung;           // also for servers that let the question before wait in vain
    std::function<bool()> enough;  // true: nothing is waited for any more
  };

  // Asks the servers anew, and waits until those that `look` waits for have answered, are known to
  // be away, until it is enough, or until the deadline.
  void LookAgain(const Look& look, Deadline deadline);

 private:
  struct Rounds {
    std::uint64_t wanted = 0;  // the number of the round that somebody waits for
    std::uint64_t begun = 0;
    std::uint64_t ended = 0;
    bool hung = false;     // the latest that ended brought nothing, and not at once
    TimePoint began = {};  // the latest
  };

  void Run(std::size_t server, const std::stop_token& stop);
  void Ask(std::size_t server, const std::stop_token& stop);
  // False: the server says nothing about models.
  bool AskAbout(std::size_t server, const ModelVersion& model, const std::stop_token& stop);

  const std::span<const std::unique_ptr<Target>> targets_;
  ModelDirectory& directory_;
  const bool by_itself_;
  Mutex mutex_;
  std::condition_variable_any wanted_;
  std::condition_variable ended_;
  std::vector<Rounds> rounds_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;  // last: end before what they use
};

}  // namespace inferpool::backend
