#include "worker/backend/infer_call.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <utility>

#include "worker/backend/grpc_status.h"

namespace inferpool::backend {
namespace {

// gRPC ends a call by itself at its deadline, with more to say than we have; usually within this.
constexpr std::chrono::milliseconds kGrace{200};
constexpr std::size_t kMaxAbandoned = 32;
constexpr const char* kNobodyWaits = "nobody waits for the answer any more";

}  // namespace

struct InferCalls::Call {
  // Destroyed from the last to the first: the queue outlives what reports to it.
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  inference::ModelInferResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReaderInterface<inference::ModelInferResponse>> reader;

  // Whether the call has ended by `until`.
  bool EndsBy(std::chrono::system_clock::time_point until) { return Next(until) == this; }

  // Whether the call has ended by `until`, or soon after the client has left: then it is cancelled.
  bool EndsBy(std::chrono::system_clock::time_point until, const std::stop_token& departed) {
    grpc::Alarm alarm;
    std::atomic<bool> rings = false;
    std::optional<std::stop_callback<std::function<void()>>> on_departure(
        std::in_place, departed, [&] {
          context.TryCancel();
          rings = true;
          alarm.Set(&queue, std::chrono::system_clock::now(), &alarm);
        });
    void* tag = Next(until);
    if (tag == &alarm) {
      rings = false;
      tag = Next(std::min(until, std::chrono::system_clock::now() + kGrace));
    }
    on_departure.reset();
    // The queue must be empty of it before the alarm's end.
    while (rings.exchange(false)) {
      if (void* other = Next(std::chrono::system_clock::time_point::max()); other != &alarm) {
        tag = other;
        rings = true;
      }
    }
    return tag == this;
  }

  // The tag of what comes next, or none by `until`.
  void* Next(std::chrono::system_clock::time_point until) {
    void* tag = nullptr;
    bool ok = false;
    return queue.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT ? tag : nullptr;
  }
};

InferCalls::InferCalls(inference::GRPCInferenceService::StubInterface& stub) : stub_(stub) {}

InferCalls::~InferCalls() {
  // gRPC may still write to a call that it has not ended. The process is about to exit.
  for (std::unique_ptr<Call>& call : abandoned_) {
    if (!call->EndsBy(std::chrono::system_clock::now())) static_cast<void>(call.release());
  }
}

absl::StatusOr<inference::ModelInferResponse> InferCalls::Infer(
    const inference::ModelInferRequest& request, const CallLimits& limits) {
  if (!Sweep()) {
    return absl::UnavailableError("the model server has stopped reading what it is sent");
  }
  auto call = std::make_unique<Call>();
  const auto until = WallTime(limits.deadline);
  call->context.set_deadline(until);
  call->reader = stub_.AsyncModelInfer(&call->context, request, &call->queue);
  call->reader->Finish(&call->response, &call->status, call.get());
  if (!call->EndsBy(until + kGrace, limits.departed)) {
    call->context.TryCancel();
    const std::lock_guard lock(mutex_);
    abandoned_.push_back(std::move(call));
    if (limits.departed.stop_requested()) return absl::CancelledError(kNobodyWaits);
    return absl::DeadlineExceededError("the model server did not take the request in time");
  }
  if (!call->status.ok() && limits.departed.stop_requested()) {
    return absl::CancelledError(kNobodyWaits);
  }
  RETURN_IF_ERROR(ToStatus(call->status, "ModelInfer"));
  return std::move(call->response);
}

bool InferCalls::Sweep() {
  const std::lock_guard lock(mutex_);
  std::erase_if(abandoned_, [](const std::unique_ptr<Call>& call) {
    return call->EndsBy(std::chrono::system_clock::now());
  });
  return abandoned_.size() < kMaxAbandoned;
}

}  // namespace inferpool::backend
