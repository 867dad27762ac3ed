#include "worker/backend/rpc/reconnections.h"

#include <grpcpp/completion_queue.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "worker/backend/rpc/grpc_status.h"

namespace inferpool::backend {
namespace {

// gRPC cannot be told to stop waiting for a change, so it is asked to wait for this long at a time.
constexpr std::chrono::milliseconds kRound{250};
// While a connection is lost: a server that is back is found soon.
constexpr std::chrono::milliseconds kPause{20};

}  // namespace

Reconnections::Reconnections(std::vector<std::shared_ptr<grpc::Channel>> channels) {
  for (auto& channel : channels) channels_.push_back({.channel = std::move(channel)});
}

std::vector<std::size_t> Reconnections::Await(const std::vector<std::size_t>& watched,
                                              const std::stop_token& stop, Deadline until) {
  std::vector<std::size_t> anew;
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    if (std::ranges::find(watched, i) == watched.end()) channels_[i].lost = false;
  }
  while (anew.empty() && !stop.stop_requested() && !until.Expired(Clock::now())) {
    std::vector<std::size_t> connected;
    for (const std::size_t i : watched) {
      Watched& one = channels_[i];
      if (one.channel->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY) {
        one.lost = true;
      } else if (std::exchange(one.lost, false)) {
        anew.push_back(i);
      } else {
        connected.push_back(i);
      }
    }
    if (!anew.empty()) break;
    const bool all_connected = connected.size() == watched.size();
    const Deadline end = Deadline::After(all_connected ? kRound : kPause);
    AwaitLoss(connected, end.at() < until.at() ? end : until);
  }
  return anew;
}

void Reconnections::AwaitLoss(const std::vector<std::size_t>& connected, Deadline end) {
  if (connected.empty()) {
    std::this_thread::sleep_until(end.at());
    return;
  }
  grpc::CompletionQueue queue;
  for (const std::size_t i : connected) {
    channels_[i].channel->NotifyOnStateChange(GRPC_CHANNEL_READY, WallTime(end), &queue,
                                              &channels_[i]);
  }
  queue.Shutdown();
  void* tag = nullptr;
  bool changed = false;
  // A connection that is lost and made anew in between counts, too.
  while (queue.Next(&tag, &changed)) {
    if (changed) static_cast<Watched*>(tag)->lost = true;
  }
}

}  // namespace inferpool::backend
