// Answers one ModelInfer, from the request's message to the reply's. It does not use gRPC.
#pragma once

#include "modelserver/repository/repository.h"
#include "modelserver/service/shared_memory.h"
#include "proto/kserve.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Finds the model, reads the inputs from the message or from shared memory, runs the model, and
// puts the outputs where the request wants them. `context` has the call's deadline; `priority` and
// `timeout` are set from the request's parameters (request_parameters.h). A request that is refused
// before its model runs is counted as the model's failure. `response` is only written when this is
// OK. The errors are those of Repository::Find, SharedMemoryTable::Find and Model::Infer, and
// INVALID_ARGUMENT for a request that is malformed or does not fit the model.
absl::Status Infer(const Repository& repository, const SharedMemoryTable& shared_memory,
                   const inference::ModelInferRequest& request, InferContext context,
                   inference::ModelInferResponse& response);

}  // namespace inferpool::modelserver
