// One model server: its channels, its breaker, and the calls made to it.
#pragma once

#include <grpcpp/channel.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "shared/base/mutex.h"
#include "shared/board/scoreboard.h"
#include "worker/backend/rpc/breaker.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/rpc/wake_event.h"

namespace inferpool::backend {

struct ClientOptions {
  int channels = 1;  // to each target
  BreakerPolicy breaker = {};
  ModelCallCounts* counts = nullptr;  // where to count; must outlive the client
  // Models that the operator named: servers that do not list theirs are asked about them.
  std::vector<std::string> models = {};
  // Ask the servers for their models every 5 s even when there is only one to choose from.
  bool always_watch = false;
};

// How one attempt to make a call ended.
struct Answer {
  absl::StatusOr<grpc::ByteBuffer> message;
  bool server_done = false;  // as in Reply
  Breaker::Outcome outcome = Breaker::Outcome::kNothing;
};

// Thread safe.
class Target {
 public:
  // `health_checker` is woken when there is something to look at, and outlives the target.
  Target(std::string name, int message_mb, const ClientOptions& options, WakeEvent& health_checker);

  const std::string& name() const { return name_; }
  Breaker& breaker() { return breaker_; }

  // How often the breaker has opened.
  std::uint64_t openings() const { return openings_.load(std::memory_order_relaxed); }

  // For calls that pass by the breaker, with a deadline.
  UnaryCalls& calls() { return channels_.front()->calls; }
  inference::GRPCInferenceService::StubInterface& stub() { return *channels_.front()->stub; }

  // False while gRPC knows that a call would fail for want of a connection. Connects if need be.
  bool MayConnect() const;

  // Makes the call once, and records its outcome with the permit. While there is no connection it
  // is UNAVAILABLE at once, without a call.
  Answer Call(Breaker::CallPermit permit, std::string_view method, const grpc::ByteBuffer& request,
              const CallLimits& limits);

  bool WantsProbe() const { return breaker_.WantsProbe(); }

  // What a question for its readiness brought; `detail` is for the log. When that opens the
  // breaker, the server is hung, and the calls that are out are given up.
  void Probed(Breaker::ProbeResult result, std::string_view detail);

 private:
  struct ModelChannel {
    explicit ModelChannel(std::shared_ptr<grpc::Channel> made)
        : channel(std::move(made)),
          stub(inference::GRPCInferenceService::NewStub(channel)),
          calls(channel) {}

    bool MayConnect() const {
      return channel->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_TRANSIENT_FAILURE;
    }

    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<inference::GRPCInferenceService::StubInterface> stub;
    UnaryCalls calls;
  };

  // The next one in turn that may connect; any when none may.
  ModelChannel& NextChannel();
  std::stop_token GivenUp();
  void CountOpening(std::string_view reason);

  const std::string name_;
  WakeEvent& health_checker_;
  ModelCallCounts* const counts_;
  Breaker breaker_;
  std::vector<std::unique_ptr<ModelChannel>> channels_;
  std::atomic<std::size_t> turn_ = 0;
  std::atomic<std::uint64_t> openings_ = 0;
  Mutex mutex_;
  std::stop_source given_up_ ABSL_GUARDED_BY(mutex_);  // a new one after each use
};

}  // namespace inferpool::backend
