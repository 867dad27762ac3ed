// Parses protobuf messages from gRPC's buffers and serializes them into such.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

namespace inferpool::modelserver {

// Parses the buffer, whose memory is released. False when it does not hold such a message.
template <typename Message>
bool Parse(grpc::ByteBuffer& buffer, Message& message) {
  return grpc::GenericDeserialize<grpc::ProtoBufferReader, Message>(&buffer, &message).ok();
}

// The status that gRPC itself returns for a message that cannot be parsed.
inline grpc::Status NotParsed() {
  return {grpc::StatusCode::INTERNAL, "Unable to parse request"};
}

template <typename Message>
grpc::Status Serialize(const Message& message, grpc::ByteBuffer& buffer) {
  bool own = false;
  return grpc::GenericSerialize<grpc::ProtoBufferWriter, Message>(message, &buffer, &own);
}

}  // namespace inferpool::modelserver
