// ModelStreamInfer: many requests on one call, run side by side, answered in their order.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "modelserver/rpc/call.h"
#include "proto/kserve.pb.h"

namespace inferpool::modelserver {

using InferStream =
    StreamingCall<grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>;

// Reads until the client has no more, as far as there is window (stream_window.h), calls `infer`
// for each request on a thread of its own, and writes the answers in the requests' order. `infer`
// is thread safe and does not throw. Returns when all are written or the client has gone; an error
// when a message is no request.
grpc::Status ServeStream(
    InferStream& stream,
    const std::function<inference::ModelStreamInferResponse(const inference::ModelInferRequest&)>&
        infer);

}  // namespace inferpool::modelserver
