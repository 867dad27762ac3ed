// Serves ModelStreamInfer: many requests on one call, which run side by side and are answered in
// their order.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "modelserver/rpc/call.h"
#include "proto/kserve.pb.h"

namespace inferpool::modelserver {

using InferStream =
    StreamingCall<grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>;

// Reads requests until the client sends no more, as far as the window allows (stream_window.h).
// Calls `infer` for each of them on a thread of its own, and writes the answers in the order of the
// requests. `infer` is thread safe and does not throw. Returns when all answers are written or the
// client has gone; an error when a message is not a request.
grpc::Status ServeStream(
    InferStream& stream,
    const std::function<inference::ModelStreamInferResponse(const inference::ModelInferRequest&)>&
        infer);

}  // namespace inferpool::modelserver
