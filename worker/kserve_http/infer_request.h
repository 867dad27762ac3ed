// Parses the body of POST /v2/models/{model}/infer.
//
// The format is KServe's "Predict Protocol - Version 2", HTTP/REST, with Triton's extensions for
// binary tensor data, parameters and classification. Unknown members are ignored.
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

  // Whether the client wants this output in binary form.
  bool IsBinary(const std::string& output) const {
    const auto found = binary_outputs.find(output);
    return found == binary_outputs.end() ? binary_by_default : found->second;
  }

  bool binary_by_default = false;
  std::map<std::string, bool> binary_outputs;
};

// A body, and the owner of its memory. Inputs that point into the body share the owner.
struct Body {
  std::string_view bytes;
  std::shared_ptr<const void> owner;
};

// `header` is the number of the body's bytes that are JSON (Inference-Header-Content-Length), or
// nullopt when all are. The bytes behind the JSON are the binary inputs, in order; they are not
// copied. `model` may be null; otherwise an input that the model does not take is refused before
// its elements are read. INVALID_ARGUMENT for what the protocol does not allow, and for tensors in
// shared memory, which a client on another machine does not have; and the errors of
// Patience::Check.
absl::StatusOr<InferCall> ReadInfer(const Body& body, std::optional<std::size_t> header,
                                    const inference::ModelMetadataResponse* model = nullptr,
                                    const Patience& patience = {});

}  // namespace inferpool::kserve_http
