// What the requests of all models share while they wait for an instance.
#pragma once

#include <cstddef>

#include "modelserver/caller_watch.h"
#include "modelserver/places.h"

namespace inferpool::modelserver {

// Requests of all models together that wait or run. One past its model's share (places.h) is
// UNAVAILABLE. With 3,900 waiting the server has 160 MB more than with none.
inline constexpr std::size_t kMaxRequests = 4096;

// The most that one model's queue can hold.
inline constexpr std::size_t kMaxRequestsOfAModel = kMaxRequests / 2;

// And the bytes of their messages, as parsed: a model that is alone has room for 200 callers with a
// tensor of 3 x 640 x 640 FP32.
inline constexpr std::size_t kMaxBytesInFlight = std::size_t{2} << 30;

struct WaitingRoom {
  explicit WaitingRoom(Amount most = {.requests = kMaxRequests, .bytes = kMaxBytesInFlight})
      : places(most) {}

  Places places;
  CallerWatch callers;
};

}  // namespace inferpool::modelserver
