#include "worker/kserve_http/infer_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <utility>

#include "proto/tensor.h"
#include "worker/kserve_http/elements.h"
#include "worker/kserve_http/json_header.h"

namespace inferpool::kserve_http {
namespace {

constexpr Json::ArrayIndex kMaxDimensions = 64;

absl::StatusOr<std::string> NameOf(const Json::Value& tensor, std::string_view kind) {
  if (!tensor.isObject()) return InvalidArgument("each of {} must be an object", kind);
  const Json::Value& name = tensor["name"];
  if (!name.isString() || name.asString().empty()) {
    return InvalidArgument("each of {} needs a \"name\", a text", kind);
  }
  return name.asString();
}

// The "parameters" of `of`: an object, null when there are none.
absl::StatusOr<const Json::Value*> ParametersOf(const Json::Value& of) {
  const Json::Value& parameters = of["parameters"];
  if (!parameters.isNull() && !parameters.isObject()) {
    return InvalidArgument("\"parameters\" is no object");
  }
  return &parameters;
}

absl::Status CheckNotShared(const Json::Value& parameters) {
  for (const std::string& name : parameters.getMemberNames()) {
    if (name.starts_with("shared_memory_")) {
      return InvalidArgument("parameter {}: tensors in shared memory are not offered over HTTP",
                             name);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> BoolOf(const Json::Value& parameters, const char* name, bool otherwise) {
  if (!parameters.isMember(name)) return otherwise;
  if (!parameters[name].isBool()) {
    return InvalidArgument("parameter {} is neither true nor false", name);
  }
  return parameters[name].asBool();
}

// jsoncpp also takes 1.0 for a whole number.
bool IsWhole(const Json::Value& value) {
  return value.type() == Json::intValue || value.type() == Json::uintValue;
}

absl::Status ReadShape(const Json::Value& shape,
                       inference::ModelInferRequest::InferInputTensor& to) {
  if (!shape.isArray()) return InvalidArgument("\"shape\" is no array");
  if (shape.size() > kMaxDimensions) {
    return InvalidArgument("\"shape\" has over {} dimensions", kMaxDimensions);
  }
  for (const Json::Value& dimension : shape) {
    if (!IsWhole(dimension) || !dimension.isInt64() || dimension.asInt64() < 0) {
      return InvalidArgument("\"shape\" has something else than whole numbers from 0");
    }
    to.add_shape(dimension.asInt64());
  }
  return absl::OkStatus();
}

absl::Status ReadParameter(const std::string& name, const Json::Value& value,
                           inference::InferParameter& to) {
  switch (value.type()) {
    case Json::booleanValue:
      to.set_bool_param(value.asBool());
      return absl::OkStatus();
    case Json::stringValue:
      to.set_string_param(value.asString());
      return absl::OkStatus();
    case Json::realValue:
      to.set_double_param(value.asDouble());
      return absl::OkStatus();
    case Json::intValue:
    case Json::uintValue:
      if (value.isInt64()) {
        to.set_int64_param(value.asInt64());
      } else {
        to.set_uint64_param(value.asUInt64());
      }
      return absl::OkStatus();
    default:
      return InvalidArgument("parameter {} is neither a text, a number, true nor false", name);
  }
}

// Whether the model takes such an input. Only what no server would take is refused: a first
// dimension may be the batch, and a server that names no inputs, or no shape, takes any.
absl::Status CheckTaken(const inference::ModelMetadataResponse& model, const std::string& name,
                        std::string_view datatype, std::span<const std::int64_t> shape) {
  if (model.inputs().empty()) return absl::OkStatus();
  const auto input = std::ranges::find_if(
      model.inputs(), [&](const auto& candidate) { return candidate.name() == name; });
  if (input == model.inputs().end()) {
    return InvalidArgument("model {} has no such input", model.name());
  }
  if (input->datatype() != datatype) {
    return InvalidArgument("its datatype is {}, model {} takes {}", datatype, model.name(),
                           input->datatype());
  }
  const std::span<const std::int64_t> taken(input->shape().data(),
                                            static_cast<std::size_t>(input->shape().size()));
  if (taken.empty()) return absl::OkStatus();
  const bool alike = std::ranges::equal(
      shape.subspan(std::min<std::size_t>(1, shape.size())),
      taken.subspan(std::min<std::size_t>(1, taken.size())),
      [](std::int64_t given, std::int64_t wanted) { return wanted < 0 || given == wanted; });
  if (shape.size() != taken.size() || !alike) {
    return InvalidArgument("its shape is {}, model {} takes {}", ShapeText(shape), model.name(),
                           ShapeText(taken));
  }
  return absl::OkStatus();
}

class Builder {
 public:
  Builder(const Body& body, std::string_view tail, const JsonHeader& header,
          const inference::ModelMetadataResponse* model, const Patience& patience)
      : body_(body), tail_(tail), header_(header), model_(model), patience_(patience) {}

  absl::StatusOr<InferCall> Build() {
    const Json::Value& id = header_.root["id"];
    if (!id.isNull()) {
      if (!id.isString()) return InvalidArgument("\"id\" is no text");
      call_.request.set_id(id.asString());
    }
    RETURN_IF_ERROR(ReadParameters());
    RETURN_IF_ERROR(ReadInputs());
    RETURN_IF_ERROR(ReadOutputs());
    return std::move(call_);
  }

 private:
  absl::Status ReadParameters() {
    ASSIGN_OR_RETURN(const Json::Value* parameters, ParametersOf(header_.root));
    ASSIGN_OR_RETURN(call_.binary_by_default,
                     BoolOf(*parameters, "binary_data_output", /*otherwise=*/false));
    for (const std::string& name : parameters->getMemberNames()) {
      if (name == "binary_data_output") continue;
      if (name.starts_with("triton_")) {
        return InvalidArgument("parameter {}: names that begin with triton_ are reserved", name);
      }
      RETURN_IF_ERROR(
          ReadParameter(name, (*parameters)[name], (*call_.request.mutable_parameters())[name]));
    }
    return absl::OkStatus();
  }

  absl::Status ReadInputs() {
    const Json::Value& inputs = header_.root["inputs"];
    if (!inputs.isArray()) return InvalidArgument("there are no \"inputs\", an array");
    std::unordered_set<std::string> names;
    for (const Json::Value& input : inputs) {
      ASSIGN_OR_RETURN(const std::string name, NameOf(input, "inputs"));
      if (!names.insert(name).second) return InvalidArgument("input '{}' is given twice", name);
      const absl::Status status = ReadInput(name, input);
      if (!status.ok()) {
        return absl::Status(status.code(), fmt::format("input '{}': {}", name, Message(status)));
      }
    }
    if (used_ != tail_.size()) {
      return InvalidArgument(
          "there are {} bytes behind the JSON, the inputs' binary_data_size make {}", tail_.size(),
          used_);
    }
    return absl::OkStatus();
  }

  absl::Status ReadInput(const std::string& name, const Json::Value& input) {
    auto& tensor = *call_.request.add_inputs();
    tensor.set_name(name);
    const inference::DataType datatype = input["datatype"].isString()
                                             ? ParseDatatype(input["datatype"].asString())
                                             : inference::TYPE_INVALID;
    if (datatype == inference::TYPE_INVALID) {
      return InvalidArgument(
          "\"datatype\" is none of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, "
          "FP64, BF16 and BYTES");
    }
    tensor.set_datatype(std::string(DatatypeName(datatype)));
    RETURN_IF_ERROR(ReadShape(input["shape"], tensor));
    const std::span<const std::int64_t> shape(tensor.shape().data(),
                                              static_cast<std::size_t>(tensor.shape().size()));
    if (model_ != nullptr) {
      RETURN_IF_ERROR(CheckTaken(*model_, name, tensor.datatype(), shape));
    }
    ASSIGN_OR_RETURN(const Json::Value* parameters, ParametersOf(input));
    RETURN_IF_ERROR(CheckNotShared(*parameters));
    const bool sized = parameters->isMember("binary_data_size");
    const bool has_data = input.isMember("data");
    if (sized ? has_data : !has_data && tail_.empty()) {
      return InvalidArgument("it needs either \"data\" or the parameter binary_data_size");
    }
    if (sized) return ReadBinary((*parameters)["binary_data_size"], datatype, shape);
    if (!has_data) return ReadUnsized(datatype, shape);
    const Json::Value& index = input["data"];
    if (!index.isUInt() || index.asUInt() >= header_.data.size()) {
      return absl::InternalError("its data were not found");  // never: json_header.h
    }
    ASSIGN_OR_RETURN(std::string elements,
                     ReadElements(header_.data[index.asUInt()], datatype, shape, patience_));
    const auto owner = std::make_shared<const std::string>(std::move(elements));
    call_.raw.push_back({std::as_bytes(std::span(*owner)), owner});
    return absl::OkStatus();
  }

  absl::Status ReadBinary(const Json::Value& size, inference::DataType datatype,
                          std::span<const std::int64_t> shape) {
    if (!IsWhole(size) || !size.isUInt64()) {
      return InvalidArgument("binary_data_size is no whole number from 0");
    }
    const std::uint64_t bytes = size.asUInt64();
    if (bytes > tail_.size() - used_) {
      return InvalidArgument(
          "binary_data_size is {}, behind the JSON (Inference-Header-Content-Length) "
          "there are only {} bytes more",
          bytes, tail_.size() - used_);
    }
    if (datatype != inference::TYPE_STRING) {
      ASSIGN_OR_RETURN(const std::size_t wanted, ByteSize(datatype, shape));
      if (wanted != bytes) {
        return InvalidArgument("{} of shape {} takes {} bytes, binary_data_size is {}",
                               DatatypeName(datatype), ShapeText(shape), wanted, bytes);
      }
    }
    Take(static_cast<std::size_t>(bytes));
    return absl::OkStatus();
  }

  // Bytes without a binary_data_size, as clients of the OpenVINO model server may leave it out: the
  // shape says how many they are, or they are the only text of the only input, without the length
  // that texts have before them.
  absl::Status ReadUnsized(inference::DataType datatype, std::span<const std::int64_t> shape) {
    if (datatype == inference::TYPE_STRING) {
      if (header_.root["inputs"].size() != 1 || ShapeText(shape) != "[1]") {
        return InvalidArgument(
            "without binary_data_size, BYTES must be of shape [1] and of the only input");
      }
      std::string element;
      AppendBytesElement(tail_, element);
      const auto owner = std::make_shared<const std::string>(std::move(element));
      call_.raw.push_back({std::as_bytes(std::span(*owner)), owner});
      used_ = tail_.size();
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::size_t bytes, ByteSize(datatype, shape));
    if (bytes > tail_.size() - used_) {
      return InvalidArgument(
          "{} of shape {} takes {} bytes, behind the JSON there are only {} more",
          DatatypeName(datatype), ShapeText(shape), bytes, tail_.size() - used_);
    }
    Take(bytes);
    return absl::OkStatus();
  }

  // The next bytes of the tail, as they are, as a tensor's.
  void Take(std::size_t bytes) {
    const std::string_view data = tail_.substr(used_, bytes);
    call_.raw.push_back({std::as_bytes(std::span(data)), body_.owner});
    used_ += bytes;
  }

  absl::Status ReadOutputs() {
    const Json::Value& outputs = header_.root["outputs"];
    if (outputs.isNull()) return absl::OkStatus();
    if (!outputs.isArray()) return InvalidArgument("\"outputs\" is no array");
    for (const Json::Value& output : outputs) {
      ASSIGN_OR_RETURN(const std::string name, NameOf(output, "outputs"));
      if (call_.binary_outputs.contains(name)) {
        return InvalidArgument("output '{}' is asked for twice", name);
      }
      const absl::Status status = ReadOutput(name, output);
      if (!status.ok()) return InvalidArgument("output '{}': {}", name, Message(status));
    }
    return absl::OkStatus();
  }

  absl::Status ReadOutput(const std::string& name, const Json::Value& output) {
    ASSIGN_OR_RETURN(const Json::Value* parameters, ParametersOf(output));
    RETURN_IF_ERROR(CheckNotShared(*parameters));
    ASSIGN_OR_RETURN(call_.binary_outputs[name],
                     BoolOf(*parameters, "binary_data", call_.binary_by_default));
    auto& wanted = *call_.request.add_outputs();
    wanted.set_name(name);
    if (!parameters->isMember("classification")) return absl::OkStatus();
    const Json::Value& classes = (*parameters)["classification"];
    if (!IsWhole(classes) || !classes.isInt64() || classes.asInt64() < 0) {
      return InvalidArgument("parameter classification is no whole number from 0");
    }
    if (classes.asInt64() == 0) return absl::OkStatus();  // none, which gRPC says by leaving it out
    (*wanted.mutable_parameters())["classification"].set_int64_param(classes.asInt64());
    return absl::OkStatus();
  }

  const Body& body_;
  const std::string_view tail_;  // the body's bytes behind the JSON
  const JsonHeader& header_;
  const inference::ModelMetadataResponse* const model_;  // null: not asked for
  const Patience& patience_;
  std::size_t used_ = 0;  // of tail_
  InferCall call_;
};

}  // namespace

absl::StatusOr<InferCall> ReadInfer(const Body& body, std::optional<std::size_t> header,
                                    const inference::ModelMetadataResponse* model,
                                    const Patience& patience) {
  const std::size_t json_bytes = header.value_or(body.bytes.size());
  if (json_bytes > body.bytes.size()) {
    return InvalidArgument("Inference-Header-Content-Length is {}, the body has {} bytes",
                           json_bytes, body.bytes.size());
  }
  if (json_bytes == 0) {
    const bool raw_binary = header && !body.bytes.empty();
    return InvalidArgument(
        "{}", raw_binary ? "requests of raw binary data alone are not offered: describe "
                           "the inputs in JSON"
                         : "the body is empty");
  }
  ASSIGN_OR_RETURN(const JsonHeader json, ReadJsonHeader(body.bytes.substr(0, json_bytes)));
  return Builder(body, body.bytes.substr(json_bytes), json, model, patience).Build();
}

}  // namespace inferpool::kserve_http
