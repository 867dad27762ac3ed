// The routes as they are now: the configuration's, or what `inferpool routes` has made of them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "shared/base/mutex.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"
#include "shared/config/routes_file.h"

namespace inferpool::routes {

// Thread safe. A thread of its own looks at the file of changes (shared/config/routes_file.h) twice
// a second. A bad file changes nothing: a copy of the last good one is kept for workers that begin
// while the file is bad. The worker's slot says which routes it was configured with, and which
// change it goes by; each change is logged by one worker of the pool.
class LiveRoutes {
 public:
  // Looks at the file once. `kept`: where the copy is. `pool` and `slot` must outlive it.
  LiveRoutes(Config::Routes configured, std::string file, std::string kept, Pool& pool,
             WorkerSlot& slot);
  ~LiveRoutes();
  LiveRoutes(const LiveRoutes&) = delete;
  LiveRoutes& operator=(const LiveRoutes&) = delete;

  std::shared_ptr<const Config::Routes> Current() const;

  // Why the file could not be taken when it was looked at last; empty when it was, or is not there.
  std::string file_problem() const;

  // Looks at the file. For the thread, and for tests.
  void Look();

 private:
  // Differs between two versions of the file.
  struct Stamp {
    ino_t inode = 0;  // 0: there is none
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  Stamp Seen() const;
  // False: it is to be looked at again.
  bool Take(absl::StatusOr<RoutesFile> file, const Stamp& stamp)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(look_mutex_);
  void LogChanges(const RoutesFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(look_mutex_);
  // Makes the copy, unless another worker does so now.
  void Keep(const RoutesFile& file);
  // Goes by the copy, if there is one that counts.
  void UseKept();
  void Use(std::shared_ptr<const Config::Routes> routes, std::int64_t number,
           std::string problem = "");
  // True for the first worker of the pool that says it.
  bool IsFirstToSay(std::uint32_t what);
  void LookNowAndThen(const std::stop_token& stop);

  const std::shared_ptr<const Config::Routes> configured_;
  const std::string file_;
  const std::string kept_;
  Pool& pool_;
  WorkerSlot& slot_;
  Mutex look_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  // Nullopt until a file, or none, was taken.
  std::optional<Stamp> seen_ ABSL_GUARDED_BY(look_mutex_);
  mutable Mutex mutex_;
  std::shared_ptr<const Config::Routes> current_ ABSL_GUARDED_BY(mutex_);
  std::string file_problem_ ABSL_GUARDED_BY(mutex_);
  std::jthread looker_;  // last: ends first
};

}  // namespace inferpool::routes
