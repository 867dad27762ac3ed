// One ModelInfer: from the request's message to the reply's. No gRPC.
#pragma once

#include "modelserver/repository/repository.h"
#include "modelserver/service/shared_memory.h"
#include "proto/kserve.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Finds the model, reads the inputs where they lie (message or shared memory), runs it and puts the
// outputs where they are asked for. `context` carries the call's own deadline; `priority` and
// `timeout` are filled in from the request's parameters (request_parameters.h). A request that is
// refused before its model runs counts as the model's failure. `response` is only written to when
// this is OK. Errors: as the protocol's status table.
absl::Status Infer(const Repository& repository, const SharedMemoryTable& shared_memory,
                   const inference::ModelInferRequest& request, InferContext context,
                   inference::ModelInferResponse& response);

}  // namespace inferpool::modelserver
