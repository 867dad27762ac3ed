// Telling a receiver of an event by HTTP.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "ops/rules/delivery_queue.h"
#include "shared/base/status.h"

namespace inferpool::rules {

// For one thread at a time. curl_global_init must have been called.
class Webhook {
 public:
  // A try ends soon after `stopping` has become true. The references must outlive the object.
  Webhook(std::string url, std::string secret_file, const std::atomic<bool>& stopping);

  // POSTs the event, signed as of now (signature.h), and waits for the answer, for ten seconds at
  // most. Only the URL is asked: no redirect is followed, no proxy used, and the certificate must
  // be good. OK: the receiver has answered with a status of 200 to 299, whatever comes after that;
  // of a body at most 64 KB are read.
  absl::Status Post(const Event& event);

 private:
  struct Free {
    void operator()(void* handle) const;
  };

  const std::string url_;
  const std::string secret_file_;
  const std::atomic<bool>& stopping_;
  std::unique_ptr<void, Free> handle_;  // keeps the connection
};

}  // namespace inferpool::rules
