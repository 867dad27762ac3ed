#include "worker/backend/region_calls.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "worker/backend/grpc_status.h"

namespace inferpool::backend {
namespace {

using inference::SystemSharedMemoryRegisterRequest;
using inference::SystemSharedMemoryRegisterResponse;
using inference::SystemSharedMemoryUnregisterRequest;
using inference::SystemSharedMemoryUnregisterResponse;

// gRPC ends a call by itself at its deadline; usually within this.
constexpr std::chrono::milliseconds kGrace{100};
constexpr std::size_t kMaxAbandoned = 8;

}  // namespace

struct RegionCalls::Call {
  virtual ~Call() = default;

  bool EndsBy(std::chrono::system_clock::time_point until) {
    void* tag = nullptr;
    bool ok = false;
    return queue.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT;
  }

  // Destroyed from the last to the first: the queue outlives what reports to it.
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  grpc::Status status;
};

template <typename Response>
struct RegionCalls::CallOf : Call {
  Response response;
  std::unique_ptr<grpc::ClientAsyncResponseReaderInterface<Response>> reader;
};

RegionCalls::RegionCalls(inference::GRPCInferenceService::StubInterface& stub) : stub_(stub) {}

RegionCalls::~RegionCalls() {
  // gRPC may still write to a call that it has not ended. The process is about to exit.
  for (std::unique_ptr<Call>& call : abandoned_) {
    if (!call->EndsBy(std::chrono::system_clock::now())) static_cast<void>(call.release());
  }
}

absl::Status RegionCalls::Register(const std::string& name, std::uint64_t bytes,
                                   Deadline deadline) {
  SystemSharedMemoryRegisterRequest request;
  request.set_name(name);
  request.set_key("/" + name);
  request.set_byte_size(bytes);
  return Make<SystemSharedMemoryRegisterResponse>(
      "SystemSharedMemoryRegister", deadline, [&](Call& call) {
        return stub_.AsyncSystemSharedMemoryRegister(&call.context, request, &call.queue);
      });
}

absl::Status RegionCalls::Unregister(const std::string& name, Deadline deadline) {
  SystemSharedMemoryUnregisterRequest request;
  request.set_name(name);
  return Make<SystemSharedMemoryUnregisterResponse>(
      "SystemSharedMemoryUnregister", deadline, [&](Call& call) {
        return stub_.AsyncSystemSharedMemoryUnregister(&call.context, request, &call.queue);
      });
}

template <typename Response, typename Begin>
absl::Status RegionCalls::Make(const char* name, Deadline deadline, const Begin& begin) {
  if (deadline.Expired(Clock::now())) return absl::DeadlineExceededError("no time was left");
  if (!FreeEnded()) return absl::UnavailableError("the model server does not answer");
  auto call = std::make_unique<CallOf<Response>>();
  const auto until = WallTime(deadline);
  call->context.set_deadline(until);
  call->reader = begin(*call);
  call->reader->Finish(&call->response, &call->status, call.get());
  if (call->EndsBy(until + kGrace)) return ToStatus(call->status, name);
  call->context.TryCancel();
  const std::lock_guard lock(mutex_);
  abandoned_.push_back(std::move(call));
  return absl::DeadlineExceededError("the model server did not take the request in time");
}

bool RegionCalls::FreeEnded() {
  const std::lock_guard lock(mutex_);
  std::erase_if(abandoned_, [](const std::unique_ptr<Call>& call) {
    return call->EndsBy(std::chrono::system_clock::now());
  });
  return abandoned_.size() < kMaxAbandoned;
}

}  // namespace inferpool::backend
