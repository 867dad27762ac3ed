#include "worker/backend/rpc/unary_call.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "proto/tensor.h"
#include "worker/backend/rpc/grpc_status.h"

namespace inferpool::backend {
namespace {

using WallClock = std::chrono::system_clock;
using std::chrono::milliseconds;

// gRPC ends a call by itself at its deadline, with more to say than we have, and soon after it was
// cancelled; usually within this.
constexpr milliseconds kGrace{200};
// How often a waiting call looks up. Its end wakes it at once; this finds that it does not end.
constexpr milliseconds kLook{200};
constexpr milliseconds kSlow{1'000};
constexpr std::size_t kMaxAbandoned = 32;

}  // namespace

struct UnaryCalls::Pending {
  // Destroyed from the last to the first: the queue outlives what reports to it.
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  grpc::ByteBuffer response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader;

  bool EndsBy(WallClock::time_point until) {
    void* tag = nullptr;
    bool ok = false;
    return queue.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT;
  }

  // False when the call has not even ended some time after its deadline or its cancellation.
  bool Ends(WallClock::time_point until, const std::stop_token& departed, const CallWatch& watch) {
    const auto cancel = [this] { context.TryCancel(); };
    const std::stop_callback on_departure(departed, cancel);
    const std::stop_callback on_giving_up(watch.given_up, cancel);
    const auto start = WallClock::now();
    bool slow = false;
    while (true) {
      const auto now = WallClock::now();
      if (now >= until + kGrace) return false;
      if (departed.stop_requested() || watch.given_up.stop_requested()) {
        return EndsBy(std::min(until, now) + kGrace);
      }
      if (EndsBy(std::min(until + kGrace, now + kLook))) return true;
      if (!slow && WallClock::now() >= start + kSlow) {
        slow = true;
        watch.on_slow();
      }
    }
  }
};

UnaryCalls::UnaryCalls(const std::shared_ptr<grpc::Channel>& channel)
    : channel_(channel), stub_(channel) {}

UnaryCalls::~UnaryCalls() {
  // gRPC may still write to a call that it has not ended. The process is about to exit.
  for (std::unique_ptr<Pending>& call : abandoned_) {
    if (!call->EndsBy(WallClock::now())) static_cast<void>(call.release());
  }
}

Reply UnaryCalls::Call(std::string_view method, const grpc::ByteBuffer& request,
                       const CallLimits& limits, const CallWatch& watch) {
  if (!Sweep()) {
    return {absl::UnavailableError("the model server has stopped reading what it is sent"), true};
  }
  auto call = std::make_unique<Pending>();
  const auto until = WallTime(limits.deadline);
  call->context.set_deadline(until);
  if (limits.trace != nullptr) {
    call->context.AddMetadata("traceparent", limits.trace->traceparent);
    if (!limits.trace->tracestate.empty()) {
      call->context.AddMetadata("tracestate", limits.trace->tracestate);
    }
  }
  call->reader = stub_.PrepareUnaryCall(&call->context,
                                        fmt::format("/inference.GRPCInferenceService/{}", method),
                                        request, &call->queue);
  call->reader->StartCall();
  call->reader->Finish(&call->response, &call->status, call.get());
  const bool ended = call->Ends(until, limits.departed, watch);
  if (ended && call->status.ok()) return {std::move(call->response), true};
  const grpc::Status status = ended ? call->status : grpc::Status();
  const bool answered =
      ended && call->context.GetServerTrailingMetadata().contains(grpc::string_ref(kAnsweredMark));
  if (!ended) {
    call->context.TryCancel();
    const MutexLock lock(mutex_);
    abandoned_.push_back(std::move(call));
  }
  if (limits.departed.stop_requested()) {
    return {absl::CancelledError("nobody waits for the answer any more")};
  }
  if (watch.given_up.stop_requested()) {
    return {absl::UnavailableError("the model server does not answer any more")};
  }
  if (!ended) {
    return {absl::DeadlineExceededError("the model server did not take the request in time")};
  }
  absl::Status error = ToStatus(status, method);
  const bool server_done = IsSurelyTheServers(error.code()) || answered;
  return {std::move(error), server_done};
}

bool UnaryCalls::Sweep() {
  const MutexLock lock(mutex_);
  std::erase_if(abandoned_, [](const std::unique_ptr<Pending>& call) {
    return call->EndsBy(WallClock::now());
  });
  return abandoned_.size() < kMaxAbandoned;
}

}  // namespace inferpool::backend
