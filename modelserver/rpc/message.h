// Protobuf messages to and from gRPC's buffers.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

namespace inferpool::modelserver {

// The buffer's memory is given back. False: it is no such message.
template <typename Message>
bool Parse(grpc::ByteBuffer& buffer, Message& message) {
  return grpc::GenericDeserialize<grpc::ProtoBufferReader, Message>(&buffer, &message).ok();
}

// What gRPC itself says of one.
inline grpc::Status NotParsed() {
  return {grpc::StatusCode::INTERNAL, "Unable to parse request"};
}

template <typename Message>
grpc::Status Serialize(const Message& message, grpc::ByteBuffer& buffer) {
  bool own = false;
  return grpc::GenericSerialize<grpc::ProtoBufferWriter, Message>(message, &buffer, &own);
}

}  // namespace inferpool::modelserver
