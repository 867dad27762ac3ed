// Places for requests in work, of all models together: each holds a thread (scheduler.h) and the
// memory of its message.
//
// A model may have as many as it leaves to the others: half of all when it is alone, a third each
// when two are busy, and so on. So what busy models fill is shared among them, and one that was
// idle finds room. Pure, but thread safe.
#pragma once

#include <cstddef>
#include <mutex>

namespace inferpool::modelserver {

// Requests of all models together that wait or run. One past its model's share is UNAVAILABLE. With
// 3,500 waiting the server has 106 MB more than with none.
inline constexpr std::size_t kMaxRequests = 4096;

// The most that one model's queue can hold.
inline constexpr std::size_t kMaxRequestsOfAModel = kMaxRequests / 2;

// And the bytes of their messages, as parsed: a model that is alone has room for 200 callers with a
// tensor of 3 x 640 x 640 FP32.
inline constexpr std::size_t kMaxBytesInFlight = std::size_t{2} << 30;

struct Amount {
  std::size_t requests = 0;
  std::size_t bytes = 0;
};

class Places {
 public:
  explicit Places(Amount most = {.requests = kMaxRequests, .bytes = kMaxBytesInFlight})
      : most_(most) {}

 private:
  friend class Share;

  const Amount most_;
  std::mutex mutex_;
  Amount taken_;  // guarded by mutex_
};

// One model's part. The places must outlive it.
class Share {
 public:
  // The model's first `always` requests are let in whatever the others have: an idle instance may
  // wait for each.
  Share(Places& places, std::size_t always) : places_(places), always_(always) {}
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

  // A place for a request of `bytes`, as long as this lives; or none.
  class Place {
   public:
    Place(Share& share, std::size_t bytes);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    bool granted() const { return granted_; }

   private:
    Share& share_;
    const std::size_t bytes_;
    const bool granted_;
  };

 private:
  bool Take(std::size_t bytes);

  Places& places_;
  const std::size_t always_;
  Amount own_;  // guarded by the places' mutex
};

}  // namespace inferpool::modelserver
