// The pictures that wait for a shadow, with bounded memory.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/config/config.h"
#include "worker/backend/catalog.h"
#include "worker/http/parameters.h"
#include "worker/vision/postprocess.h"

namespace inferpool::predict {

// A picture that was answered, and whom to ask about it as well.
struct ShadowJob {
  std::string route;
  backend::ModelVersion model;  // the shadow's
  std::string request_id;
  std::string_view picture;  // the bytes as uploaded
  std::shared_ptr<const void>
      memory;  // that they are in, perhaps together with those of other jobs
  std::size_t memory_bytes = 0;
  std::size_t bytes = 0;  // of the job itself
  http::PredictParameters parameters;
  vision::Result answer;  // that the client got
  std::shared_ptr<const backend::Model> answered_by;
  TimePoint answered_at = {};
};

// The memory of a job without its picture's: an estimate from the sizes of what it holds.
std::size_t OwnBytes(const ShadowJob& job);

// Whether it is too late to ask: the answer was given more than 30 s ago, or its route has no such
// shadow any more.
bool IsStale(const ShadowJob& job, const Config::Routes& routes, TimePoint now);

// Thread safe. Memory that several jobs share is counted once, until the last of them is done.
class ShadowQueue {
 public:
  static constexpr std::size_t kMaxJobs = 256;

  explicit ShadowQueue(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // False: there is no room for it, or kMaxJobs wait.
  bool Put(std::shared_ptr<const ShadowJob> job);

  // Waits for the next one, whose memory stays counted until Done. Null when it is to stop.
  std::shared_ptr<const ShadowJob> Take(const std::stop_token& stop);

  // More memory for the one that was taken. False: there is no room for it.
  bool Grow(std::size_t bytes);

  // The one that was taken is done; it had grown by `grown`.
  void Done(const ShadowJob& job, std::size_t grown);

  std::size_t bytes() const;

 private:
  const std::size_t max_bytes_;
  mutable Mutex mutex_;
  std::condition_variable_any put_;
  std::deque<std::shared_ptr<const ShadowJob>> jobs_ ABSL_GUARDED_BY(mutex_);
  // How many jobs, waiting or taken, have their picture in that memory.
  std::map<const void*, std::size_t> shared_by_ ABSL_GUARDED_BY(mutex_);
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inferpool::predict
