#include "worker/backend/shm/region_calls.h"

#include <grpcpp/support/byte_buffer.h>

#include "proto/kserve.pb.h"

namespace inferpool::backend {
namespace {

// What the server answers has nothing in it.
absl::Status Make(UnaryCalls& server, const char* method, const google::protobuf::Message& request,
                  Deadline deadline) {
  if (deadline.Expired(Clock::now())) return absl::DeadlineExceededError("no time was left");
  const grpc::Slice slice(request.SerializeAsString());
  const CallWatch unwatched{.given_up = {}, .on_slow = [] {}};
  return server.Call(method, grpc::ByteBuffer(&slice, 1), {deadline}, unwatched).message.status();
}

}  // namespace

absl::Status RegisterRegion(UnaryCalls& server, const std::string& name, std::uint64_t bytes,
                            Deadline deadline) {
  inference::SystemSharedMemoryRegisterRequest request;
  request.set_name(name);
  request.set_key("/" + name);
  request.set_byte_size(bytes);
  return Make(server, "SystemSharedMemoryRegister", request, deadline);
}

absl::Status UnregisterRegion(UnaryCalls& server, const std::string& name, Deadline deadline) {
  inference::SystemSharedMemoryUnregisterRequest request;
  request.set_name(name);
  return Make(server, "SystemSharedMemoryUnregister", request, deadline);
}

}  // namespace inferpool::backend
