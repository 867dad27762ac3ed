// Limits the requests that all models together have in work. Each of them holds a thread
// (scheduler.h) and the memory of its message.
//
// A model may have as many requests in work as it leaves unused for the other models: half of the
// limit when it is the only busy one, a third when two are busy, and so on. So busy models share
// the limit evenly, and a model that was idle always finds some of it left.
#pragma once

#include <cstddef>

#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// The requests of all models together that may wait or run. The server needs 106 MB more memory
// with 3,500 waiting requests than with none.
inline constexpr std::size_t kMaxRequests = 4096;

// The largest number of requests that one model can have in work.
inline constexpr std::size_t kMaxRequestsPerModel = kMaxRequests / 2;

// The bytes of these requests' messages, as parsed. This lets 200 clients of one busy model send a
// tensor of 3 x 640 x 640 FP32 each.
inline constexpr std::size_t kMaxBytesInFlight = std::size_t{2} << 30;

// Requests in work and the bytes of their messages.
struct InFlight {
  std::size_t requests = 0;
  std::size_t bytes = 0;
};

// What all models share. Thread safe through ModelQuota and Admission, which are its interface.
class AdmissionLimiter {
 public:
  explicit AdmissionLimiter(InFlight max = {.requests = kMaxRequests, .bytes = kMaxBytesInFlight})
      : max_(max) {}

 private:
  friend class Admission;
  friend class ModelQuota;

  const InFlight max_;
  Mutex mutex_;
  InFlight admitted_ ABSL_GUARDED_BY(mutex_);
};

// The part of the limit that one model has. Thread safe. `limiter` must outlive it.
class ModelQuota {
 public:
  // The model's first `guaranteed` requests are admitted however many the other models have,
  // because an idle instance may be there for each of them.
  ModelQuota(AdmissionLimiter& limiter, std::size_t guaranteed)
      : limiter_(limiter), guaranteed_(guaranteed) {}
  ModelQuota(const ModelQuota&) = delete;
  ModelQuota& operator=(const ModelQuota&) = delete;

 private:
  friend class Admission;

  [[nodiscard]] bool Admit(std::size_t bytes);
  void Release(std::size_t bytes);

  AdmissionLimiter& limiter_;
  const std::size_t guaranteed_;
  InFlight own_ ABSL_GUARDED_BY(limiter_.mutex_);
};

// One request's admission, from construction to destruction. `quota` must outlive it.
class Admission {
 public:
  // Asks for the admission of a request whose message has `bytes`; granted() has the answer.
  [[nodiscard]] Admission(ModelQuota& quota, std::size_t bytes)
      : quota_(quota), bytes_(bytes), granted_(quota.Admit(bytes)) {}
  ~Admission() {
    if (granted_) quota_.Release(bytes_);
  }
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  bool granted() const { return granted_; }

 private:
  ModelQuota& quota_;
  const std::size_t bytes_;
  const bool granted_;
};

}  // namespace inferpool::modelserver
