#include "worker/backend/infer_call.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "worker/backend/grpc_status.h"

namespace inferpool::backend {
namespace {

// gRPC ends a call by itself at its deadline, with more to say than we have; usually within this.
constexpr std::chrono::milliseconds kGrace{200};
constexpr std::size_t kMaxAbandoned = 32;

}  // namespace

struct InferCalls::Call {
  // Destroyed from the last to the first: the queue outlives what reports to it.
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  inference::ModelInferResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReaderInterface<inference::ModelInferResponse>> reader;

  // Whether the call has ended by `until`.
  bool EndsBy(std::chrono::system_clock::time_point until) {
    void* tag = nullptr;
    bool ok = false;
    return queue.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT;
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
  const bool ended = [&] {
    const std::stop_callback cancel(limits.departed, [&] { call->context.TryCancel(); });
    return call->EndsBy(until + kGrace);
  }();
  if (!ended) {
    call->context.TryCancel();
    const std::lock_guard lock(mutex_);
    abandoned_.push_back(std::move(call));
    return absl::DeadlineExceededError("the model server did not take the request in time");
  }
  if (!call->status.ok() && limits.departed.stop_requested()) {
    return absl::CancelledError("nobody waits for the answer any more");
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
