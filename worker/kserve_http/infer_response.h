// A model server's answer as the protocol's HTTP response.
#pragma once

#include "fcgi/wire/request.h"
#include "shared/base/status.h"
#include "worker/backend/infer_answer.h"
#include "worker/kserve_http/infer_request.h"

namespace inferpool::kserve_http {

// {"id","model_name","model_version","parameters","outputs"}; the binary outputs follow it in
// order, and Inference-Header-Content-Length says where. As in Triton, an answer without a byte of
// those is plain JSON. Errors: as WriteElements (elements.h).
absl::StatusOr<fcgi::Response> WriteInfer(const backend::InferAnswer& answer, const InferCall& call,
                                          const Patience& patience = {});

}  // namespace inferpool::kserve_http
