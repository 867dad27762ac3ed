// A model server's answer as the protocol's HTTP response.
#pragma once

#include "fcgi/wire/request.h"
#include "shared/base/status.h"
#include "worker/backend/infer_answer.h"
#include "worker/kserve_http/infer_request.h"

namespace inferpool::kserve_http {

// Writes {"id","model_name","model_version","parameters","outputs"}. The binary outputs follow it
// in order, and Inference-Header-Content-Length says where they begin. As in Triton, an answer
// without binary outputs, or with empty ones only, is plain JSON. Errors: as WriteElements
// (elements.h).
absl::StatusOr<fcgi::Response> WriteInfer(const backend::InferAnswer& answer, const InferCall& call,
                                          const Patience& patience = {});

}  // namespace inferpool::kserve_http
