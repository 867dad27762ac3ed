// POST /v2/models/{model}/infer: the body as a ModelInferRequest.
//
// The protocol: KServe's "Predict Protocol - Version 2", HTTP/REST, with Triton's extensions for
// binary tensor data, parameters and classification. Members that are unknown are ignored.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/kserve.pb.h"
#include "shared/base/patience.h"
#include "shared/base/status.h"
#include "worker/backend/tensor_message.h"

namespace inferpool::kserve_http {

struct InferCall {
  inference::ModelInferRequest request;  // without model and raw contents
  std::vector<backend::RawInput> raw;    // one for each input

  // The form in which an output is wanted.
  bool IsBinary(const std::string& output) const {
    const auto found = binary_outputs.find(output);
    return found == binary_outputs.end() ? binary_by_default : found->second;
  }

  bool binary_by_default = false;
  std::map<std::string, bool> binary_outputs;
};

// A body with its owner, which is held for as long as a tensor in it is.
struct Body {
  std::string_view bytes;
  std::shared_ptr<const void> owner;
};

// `header`: how many of the body's bytes are JSON (Inference-Header-Content-Length); the others are
// the binary inputs, in order, and are not copied. None: all are JSON. `model`: what its server
// says of it, when it was asked; no element is then read of an input that the model does not take.
// INVALID_ARGUMENT: what the protocol does not allow, and tensors in shared memory, which is for
// those who are on this machine; and the errors of Patience::Check.
absl::StatusOr<InferCall> ReadInfer(const Body& body, std::optional<std::size_t> header,
                                    const inference::ModelMetadataResponse* model = nullptr,
                                    const Patience& patience = {});

}  // namespace inferpool::kserve_http
