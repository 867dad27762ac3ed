// ModelInfer's messages as gRPC sends and receives them, without a copy of the tensors' bytes.
//
// protobuf's wire format: a message is its fields one after the other, and bytes fields are a tag,
// a length, and the bytes as they are; so a raw tensor is sent from where it lies, and read where
// gRPC put it. Field numbers: proto/kserve.proto. Functions are thread safe.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "proto/kserve.pb.h"
#include "shared/base/status.h"
#include "worker/backend/infer_answer.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// One entry of raw_input_contents. `data` must not change while `owner` lives, and `owner` is held
// until gRPC is done with the bytes, which may be after the call's end.
struct RawInput {
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner;
};

// `request`, which has no raw contents of its own, with those of `raw` added. INVALID_ARGUMENT: the
// message would have more than 2 GiB, which is protobuf's limit.
absl::StatusOr<grpc::ByteBuffer> Encode(const inference::ModelInferRequest& request,
                                        std::span<const RawInput> raw);

// Says in an input's or a requested output's parameters that the tensor lies in `lease`, which is
// of an arena, `offset` bytes from the lease's begin. Such an input has no raw entry.
void PutInSharedMemory(const Lease& lease, std::size_t offset, std::size_t bytes,
                       google::protobuf::Map<std::string, inference::InferParameter>& parameters);

// The answer in `buffer`, of which it keeps what it needs. Raw contents that came in one piece are
// viewed where they are, others are copied once. Errors: INTERNAL when it is no ModelInferResponse;
// as InferAnswer::Make.
absl::StatusOr<InferAnswer> Decode(const grpc::ByteBuffer& buffer, std::vector<OutputPlace> places);

}  // namespace inferpool::backend
