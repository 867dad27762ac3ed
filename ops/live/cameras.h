// All that is known of the cameras, from their answers and from Redis. Thread safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/live/answer.h"
#include "ops/live/newest_answers.h"
#include "ops/live/questions.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"

namespace inferpool::live {

struct Camera {
  std::string id;
  NewestAnswers::Known known;  // `newest` is null before the first answer
  Counts counts;
};

// As JSON, at a time in Unix milliseconds.
std::string ToJson(const Camera& camera, std::int64_t now_ms);

class Cameras {
 public:
  // `configured`: the ids that the configuration names.
  Cameras(Questions& questions, std::vector<std::string> configured);

  void Put(std::shared_ptr<const Answer> answer, bool is_old, TimePoint now);
  void Tidy(TimePoint now);

  // The cameras by id: those that are configured or in the set of cameras, and those that were
  // answered lately. Redis is asked at most once a second, and for a small share of the time.
  // While it is away, what it said last stays.
  std::vector<Camera> All(TimePoint now);

  // NOT_FOUND: there is no such camera. UNAVAILABLE: Redis, which would have to say so, is away.
  // What Redis says of its numbers is missing while it is away.
  absl::StatusOr<Camera> Find(const std::string& id, TimePoint now);

  // nullptr: no answer is known.
  std::shared_ptr<const Answer> Newest(std::string_view id, TimePoint now) const;

  // The same without its numbers.
  absl::Status CheckKnown(const std::string& id, TimePoint now);

 private:
  struct Listing {
    std::vector<std::string> ids;
    std::vector<Counts> counts;
    TimePoint due;  // when Redis may be asked again
  };

  void Refresh(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(listing_mutex_);

  Questions& questions_;
  const std::vector<std::string> configured_;  // in order
  Mutex listing_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  Listing listing_ ABSL_GUARDED_BY(listing_mutex_);
  mutable Mutex mutex_;
  NewestAnswers newest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::live
