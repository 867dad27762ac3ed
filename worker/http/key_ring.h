// The API keys that a worker accepts: those of the last version of the keys file that was valid.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fcgi/wire/request.h"
#include "shared/access/api_keys.h"
#include "shared/access/rate_limiter.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "worker/http/problem.h"

namespace inferpool::http {

// A key, and the meter of its requests' rate.
struct KeyHolder {
  ApiKey key;
  RateMeter* meter;
  // For a key that found no place in the pool's table: `meter` is this one, which counts the
  // requests of this worker only.
  std::unique_ptr<RateMeter> own_meter;
};

// Thread safe. At most once per second, the thread of a request checks the file for changes, while
// the other threads continue with the keys that are known. When a file is invalid or missing, the
// keys stay as they were and the error is logged once. Without any valid file, every key is
// refused.
class KeyRing {
 public:
  // `limiter` must outlive it.
  KeyRing(std::string file, RateLimiter& limiter, TimePoint now);

  // False when there was no valid file yet.
  bool has_keys() const { return Current() != nullptr; }

  // What is wrong with the latest version of the file; empty when it is good.
  std::string file_problem() const;

  // The holder of the key in `Authorization: Bearer KEY` or `X-API-Key: KEY`. The problem is a 401:
  // there is no key, there are two different ones, or it is unknown or has expired.
  [[nodiscard]] std::variant<std::shared_ptr<const KeyHolder>, Problem> Identify(
      const fcgi::Request& request, TimePoint now, WallTime wall_now);

 private:
  using Holders = std::vector<std::shared_ptr<const KeyHolder>>;

  // Differs between two versions of the file.
  struct Stamp {
    bool there = false;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;  // changes with the file's rights, too
    bool operator==(const Stamp&) const = default;
  };

  Stamp Look() const;
  void Refresh(TimePoint now);
  std::shared_ptr<const Holders> Current() const;

  const std::string file_;
  RateLimiter& limiter_;
  std::atomic<std::int64_t> next_look_ns_;
  Mutex refresh_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  Stamp seen_ ABSL_GUARDED_BY(refresh_mutex_);  // the latest version that was tried
  mutable Mutex mutex_;
  // Null before the first good file.
  std::shared_ptr<const Holders> holders_ ABSL_GUARDED_BY(mutex_);
  std::string file_problem_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::http
