// POST /v2/models/MODEL/infer: a line with Inference-Header-Content-Length, or with the body's
// Content-Encoding, or empty; then the body.
#include <charconv>
#include <memory>
#include <optional>
#include <string>

#include "proto/tensor.h"
#include "shared/base/strict_json.h"
#include "shared/base/utf8.h"
#include "tests/fuzz/check.h"
#include "worker/kserve_http/elements.h"
#include "worker/kserve_http/infer_request.h"
#include "worker/kserve_http/inflate.h"

using namespace inferpool;

namespace {

// The input is sound, and what came as JSON comes back by way of JSON.
void CheckInput(const inference::ModelInferRequest::InferInputTensor& input,
                const backend::RawInput& raw, bool was_json, std::size_t body_bytes) {
  const TensorView tensor{
      .name = input.name(),
      .datatype = ParseDatatype(input.datatype()),
      .shape = {input.shape().data(), static_cast<std::size_t>(input.shape_size())},
      .data = raw.data};
  HOLDS(IsUtf8(input.name()) && !input.name().empty() && input.parameters().empty());
  const auto count = ElementCount(tensor.shape);
  HOLDS(count.ok() && raw.data.size() <= 4 * body_bytes);
  if (tensor.datatype == inference::TYPE_STRING) {
    HOLDS(DecodeBytes(raw.data, *count).ok() || !was_json);
  } else {
    HOLDS(*ByteSize(tensor.datatype, tensor.shape) == raw.data.size());
  }
  if (!was_json) return;
  std::string json;
  HOLDS(kserve_http::WriteElements(tensor, json).ok());
  const auto back = kserve_http::ReadElements(json, tensor.datatype, tensor.shape);
  HOLDS(back.ok());
  HOLDS(*back == std::string_view(reinterpret_cast<const char*>(raw.data.data()), raw.data.size()));
}

void CheckInfer(std::string_view bytes, std::optional<std::size_t> header) {
  const auto owner = std::make_shared<int>(0);
  const auto call = kserve_http::ReadInfer({bytes, owner}, header);
  if (!call.ok()) {
    HOLDS(absl::IsInvalidArgument(call.status()) && !call.status().message().empty());
    return;
  }
  HOLDS(call->raw.size() == static_cast<std::size_t>(call->request.inputs_size()));
  for (int i = 0; i < call->request.inputs_size(); ++i) {
    const backend::RawInput& raw = call->raw[static_cast<std::size_t>(i)];
    HOLDS(raw.owner != nullptr || raw.data.empty());
    CheckInput(call->request.inputs(i), raw, raw.owner != owner, bytes.size());
  }
  HOLDS(call->request.SerializeAsString().size() < 2 * bytes.size() + 100);
  // Another reader takes it for JSON, too, but for the numbers that JSON does not have.
  const std::string_view json = bytes.substr(0, header.value_or(bytes.size()));
  if (json.find_first_of("NI") == std::string_view::npos) {
    HOLDS(ReadStrictJson(json, 200, json.size() + 1).ok());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  std::string_view body = fuzz::Text(data, size);
  const std::string_view line = fuzz::TakeLine(body);
  if (line == "gzip" || line == "deflate") {
    const auto text = kserve_http::Inflate(body, line, kMost);
    if (!text.ok()) return 0;
    HOLDS(text->size() <= kMost);
    CheckInfer(*text, std::nullopt);
    return 0;
  }
  std::size_t header = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), header);
  const bool given = error == std::errc() && end == line.data() + line.size();
  CheckInfer(body, given ? std::optional(header) : std::nullopt);
  return 0;
}
