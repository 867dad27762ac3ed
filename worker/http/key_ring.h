// The API keys that a worker lets in: the keys file as it was when it last made sense.
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

// One key and its requests.
struct KeyHolder {
  ApiKey key;
  RateMeter* meter;
  // For a key that found no place in the pool's table: what this worker alone counts.
  std::unique_ptr<RateMeter> own_meter;
};

// Thread safe. Looks at the file at most once a second, in the thread of a request; the others go
// on with what is known. A file that is bad or gone leaves the keys as they were, and is logged
// once; before there was a good one, nobody is let in.
class KeyRing {
 public:
  // `limiter` must outlive it.
  KeyRing(std::string file, RateLimiter& limiter, TimePoint now);

  // False: there was no good file yet.
  bool has_keys() const { return Current() != nullptr; }

  // Who asks: `Authorization: Bearer KEY` or `X-API-Key: KEY`. A Problem, a 401, when there is no
  // key, two different ones, an unknown one or one that has expired.
  std::variant<std::shared_ptr<const KeyHolder>, Problem> Identify(const fcgi::Request& request,
                                                                   TimePoint now,
                                                                   WallTime wall_now);

 private:
  using Holders = std::vector<std::shared_ptr<const KeyHolder>>;

  // What tells one version of the file from another.
  struct Stamp {
    bool there = false;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;  // its rights as well
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
};

}  // namespace inferpool::http
