#include "worker/kserve_http/infer_response.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "shared/base/json_text.h"
#include "worker/kserve_http/elements.h"
#include "worker/kserve_http/message_json.h"

namespace inferpool::kserve_http {

absl::StatusOr<fcgi::Response> WriteInfer(const backend::InferAnswer& answer, const InferCall& call,
                                          const Patience& patience) {
  const inference::ModelInferResponse& message = answer.message();
  fcgi::Response response;
  std::string& body = response.body;
  const auto out = std::back_inserter(body);
  body = '{';
  if (!message.id().empty()) fmt::format_to(out, "\"id\":{},", QuotedJson(message.id()));
  fmt::format_to(out, "\"model_name\":{},\"model_version\":{}", QuotedJson(message.model_name()),
                 QuotedJson(message.model_version()));
  if (!message.parameters().empty()) {
    fmt::format_to(out, ",\"parameters\":{}", ToJson(message.parameters()));
  }
  body += ",\"outputs\":[";
  std::vector<std::span<const std::byte>> binary;
  std::size_t binary_bytes = 0;
  for (const TensorView& tensor : answer.tensors()) {
    const std::string name(tensor.name);
    fmt::format_to(out, R"({}{{"name":{},"datatype":"{}","shape":[{}],)",
                   body.ends_with('[') ? "" : ",", QuotedJson(name), DatatypeName(tensor.datatype),
                   fmt::join(tensor.shape, ","));
    if (call.IsBinary(name)) {
      fmt::format_to(out, R"("parameters":{{"binary_data_size":{}}})", tensor.data.size());
      binary.push_back(tensor.data);
      binary_bytes += tensor.data.size();
    } else {
      body += "\"data\":";
      if (const absl::Status status = WriteElements(tensor, body, patience); !status.ok()) {
        return absl::Status(status.code(), fmt::format("output '{}': {}", name, Message(status)));
      }
    }
    body += '}';
  }
  body += "]}";
  if (binary_bytes == 0) {
    response.headers.emplace_back("Content-Type", "application/json");
    return response;
  }
  response.headers.emplace_back("Content-Type", "application/octet-stream");
  response.headers.emplace_back("Inference-Header-Content-Length", fmt::format("{}", body.size()));
  body.reserve(body.size() + binary_bytes);
  for (const std::span<const std::byte> data : binary) {
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  return response;
}

}  // namespace inferpool::kserve_http
