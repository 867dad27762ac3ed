// Messages of ours as the bytes that go over the wire, and back.
#pragma once

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>

#include <string_view>

#include "shared/base/status.h"

namespace inferpool::backend {

inline absl::StatusOr<grpc::ByteBuffer> ToBytes(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status status =
      grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(message, &bytes,
                                                                                 &own);
  if (!status.ok()) return absl::InternalError("the request cannot be encoded");
  return bytes;
}

// Leaves nothing in `bytes`. INTERNAL, which names the call, for what is no such message.
template <typename Message>
absl::StatusOr<Message> FromBytes(grpc::ByteBuffer& bytes, std::string_view call) {
  Message message;
  if (!grpc::GenericDeserialize<grpc::ProtoBufferReader, Message>(&bytes, &message).ok()) {
    return absl::InternalError(fmt::format("{}: the answer cannot be decoded", call));
  }
  return message;
}

// Whether an entry of an index is of a model that is ready. MLServer writes its enumeration's name
// before the value, and some servers no state when they are asked for the ready ones.
inline bool SaysReady(std::string_view state, bool asked_for_ready) {
  return state == "READY" || state == "State.READY" || (state.empty() && asked_for_ready);
}

}  // namespace inferpool::backend
