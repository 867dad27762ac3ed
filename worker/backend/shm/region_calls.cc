#include "worker/backend/shm/region_calls.h"

#include "proto/kserve.pb.h"
#include "worker/backend/rpc/messages.h"

namespace inferpool::backend {
namespace {

// What the server answers has nothing in it.
absl::Status Make(UnaryCalls& server, const char* method, const google::protobuf::Message& request,
                  const CallLimits& limits) {
  if (limits.deadline.Expired(Clock::now())) return absl::DeadlineExceededError("no time was left");
  const absl::StatusOr<grpc::ByteBuffer> bytes = ToBytes(request);
  RETURN_IF_ERROR(bytes.status());
  return server.Call(method, *bytes, limits, CallWatch{}).message.status();
}

}  // namespace

absl::Status RegisterRegion(UnaryCalls& server, const std::string& name, std::uint64_t bytes,
                            Deadline deadline, const std::stop_token& departed) {
  inference::SystemSharedMemoryRegisterRequest request;
  request.set_name(name);
  request.set_key("/" + name);
  request.set_byte_size(bytes);
  return Make(server, "SystemSharedMemoryRegister", request, {deadline, departed});
}

absl::Status UnregisterRegion(UnaryCalls& server, const std::string& name, Deadline deadline,
                              const std::stop_token& departed) {
  inference::SystemSharedMemoryUnregisterRequest request;
  request.set_name(name);
  return Make(server, "SystemSharedMemoryUnregister", request, {deadline, departed});
}

bool MayPass(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

}  // namespace inferpool::backend
