// ModelStreamInfer: many requests on one call, run side by side, answered in their order.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "proto/kserve.grpc.pb.h"

namespace inferpool::modelserver {

// Requests of one stream that are in work or wait to be sent at a time; the next is not read.
inline constexpr std::size_t kMaxInStream = 16;

using InferStream =
    grpc::ServerReaderWriter<inference::ModelStreamInferResponse, inference::ModelInferRequest>;

// Reads until the client has no more, calls `infer` for each request on a thread of its own, and
// writes the answers in the requests' order. `infer` is thread safe and does not throw. Returns
// when all are written or the client has gone.
void ServeStream(InferStream& stream, const std::function<inference::ModelStreamInferResponse(
                                          const inference::ModelInferRequest&)>& infer);

}  // namespace inferpool::modelserver
