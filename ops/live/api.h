// The routes below /v1/cameras: from a request to its answer, or to a stream of events.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fcgi/wire/request.h"
#include "ops/live/cameras.h"
#include "ops/live/event_stream.h"
#include "ops/live/listeners.h"
#include "ops/live/questions.h"
#include "worker/http/key_ring.h"

namespace inferpool::live {

struct Reply {
  fcgi::Response response;
  std::unique_ptr<EventStream> stream = nullptr;  // follows the response's head, if there is one
};

// What a path names.
struct Route {
  enum class To { kNotFound, kList, kCamera, kLatest, kSnapshot, kEvents };

  To to = To::kNotFound;
  std::string camera = {};  // decoded; also of a path of that camera that there is not
};

Route ParseRoute(std::string_view path);

class Api {
 public:
  struct Parts {
    Cameras& cameras;
    Listeners& listeners;
    Questions& questions;
    std::function<bool()> is_connected;  // to Redis
    http::KeyRing* keys = nullptr;       // null: requests need no key
    std::string base_path = {};          // where clients find our pages
    LiveCounts* counts = nullptr;        // null: nothing is counted
    // How long a request for a snapshot waits for the first one.
    std::chrono::milliseconds snapshot_wait{5'000};
  };

  explicit Api(Parts parts) : parts_(std::move(parts)) {}

  // Thread safe; may wait, for Redis or for a snapshot. `request` must outlive a stream that it
  // gets.
  Reply Handle(const fcgi::Request& request) const;

 private:
  struct Exchange;

  Reply Fail(const Exchange& exchange, const http::Problem& problem) const;
  Reply Dispatch(Exchange& exchange) const;
  Reply List(const Exchange& exchange) const;
  Reply Describe(const Exchange& exchange) const;
  Reply Latest(const Exchange& exchange) const;
  Reply Snapshot(const Exchange& exchange) const;
  Reply Events(const Exchange& exchange) const;

  const Parts parts_;
};

}  // namespace inferpool::live
