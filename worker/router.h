// The worker's HTTP interface: from a FastCGI request to its answer.
#pragma once

#include "worker/http/exchange.h"

namespace inferpool::worker {

// Thread safe. Everything that `services` refers to must outlive the router.
class Router {
 public:
  explicit Router(const http::Services& services) : services_(services) {}

  // Identifies the client, hands the request to the handler of its path, adds the headers that all
  // answers have, counts the request in `thread_slot`, and logs it. Never throws and never fails:
  // errors are answers.
  [[nodiscard]] fcgi::Response Handle(const fcgi::Request& request, ThreadSlot& thread_slot) const;

 private:
  const http::Services services_;
};

}  // namespace inferpool::worker
