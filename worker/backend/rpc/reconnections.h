// Tells when a server may have been started anew: its channel has lost the connection and has one
// again.
#pragma once

#include <grpcpp/channel.h>

#include <cstddef>
#include <memory>
#include <stop_token>
#include <vector>

#include "shared/base/deadline.h"

namespace inferpool::backend {

// For one thread.
class Reconnections {
 public:
  explicit Reconnections(std::vector<std::shared_ptr<grpc::Channel>> channels);

  // Waits until one of the channels `watched` (by index) has connected anew, and returns those that
  // have; none at `until`. What happens between two calls with the same channels is not missed.
  // Returns within a quarter of a second when `stop` is requested. Asks the channels to connect.
  std::vector<std::size_t> Await(const std::vector<std::size_t>& watched,
                                 const std::stop_token& stop, Deadline until);

 private:
  struct Watched {
    std::shared_ptr<grpc::Channel> channel;
    bool lost = false;  // the connection that it had
  };

  // Waits until a channel of `connected` has lost its connection, at most until `end`.
  void AwaitLoss(const std::vector<std::size_t>& connected, Deadline end);

  std::vector<Watched> channels_;
};

}  // namespace inferpool::backend
