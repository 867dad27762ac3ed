#include "worker/backend/rpc/target.h"

#include <algorithm>
#include <utility>

#include "shared/base/log.h"
#include "worker/backend/rpc/channel.h"
#include "worker/backend/rpc/grpc_status.h"

namespace inferpool::backend {

Target::Target(std::string name, int message_mb, const ClientOptions& options,
               WakeEvent& health_checker)
    : name_(std::move(name)),
      health_checker_(health_checker),
      counts_(options.counts),
      breaker_(options.breaker) {
  for (int i = 0; i < options.channels; ++i) {
    channels_.push_back(std::make_unique<ModelChannel>(MakeChannel(name_, message_mb)));
  }
}

bool Target::MayConnect() const {
  return std::ranges::any_of(channels_, [](const auto& channel) { return channel->MayConnect(); });
}

Target::ModelChannel& Target::NextChannel() {
  const std::size_t first = turn_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    ModelChannel& channel = *channels_[(first + i) % channels_.size()];
    if (channel.MayConnect()) return channel;
  }
  return *channels_[first % channels_.size()];
}

Answer Target::Call(Breaker::CallPermit permit, std::string_view method,
                    const grpc::ByteBuffer& request, const CallLimits& limits) {
  ModelChannel& channel = NextChannel();
  Reply reply;
  if (channel.MayConnect()) {
    reply = channel.calls.Call(method, request, limits, {.given_up = GivenUp(), .on_slow = [this] {
                                                           breaker_.Doubt();
                                                           health_checker_.Wake();
                                                         }});
  } else {
    reply = {absl::UnavailableError("there is no connection to the model server"), true};
  }
  const Breaker::Outcome outcome = OutcomeOf(reply.message.status().code(), channel.MayConnect());
  if (permit.Record(outcome, Clock::now())) CountOpening(Message(reply.message.status()));
  if (outcome != Breaker::Outcome::kAnswered) health_checker_.Wake();
  return {std::move(reply.message), reply.server_done, outcome};
}

void Target::Probed(Breaker::ProbeResult result, std::string_view detail) {
  const TimePoint now = Clock::now();
  const bool was_open = breaker_.state(now) == Breaker::State::kOpen;
  if (breaker_.Probed(result, now)) {
    std::stop_source given_up;
    {
      const MutexLock lock(mutex_);
      std::swap(given_up, given_up_);
    }
    given_up.request_stop();
    CountOpening(detail);
  } else if (result == Breaker::ProbeResult::kReady && was_open) {
    log::Info("model server is back", {{"target", name_}});
  }
}

std::stop_token Target::GivenUp() {
  const MutexLock lock(mutex_);
  return given_up_.get_token();
}

void Target::CountOpening(std::string_view reason) {
  openings_.fetch_add(1, std::memory_order_relaxed);
  if (counts_ != nullptr) counts_->Count(ModelCall::kBreakerOpened);
  log::Warning("model server is away", {{"target", name_}, {"reason", reason}});
}

}  // namespace inferpool::backend
