#include "modelserver/engines/onnx_file.h"

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <span>
#include <unordered_set>

#include "modelserver/config/name_list.h"
#include "modelserver/config/ultralytics.h"
#include "modelserver/engines/onnx/model_file.h"
#include "proto/tensor.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

inference::DataType FromOnnx(int type) {
  switch (type) {
    case onnx::TensorProto::BOOL:
      return inference::TYPE_BOOL;
    case onnx::TensorProto::UINT8:
      return inference::TYPE_UINT8;
    case onnx::TensorProto::UINT16:
      return inference::TYPE_UINT16;
    case onnx::TensorProto::UINT32:
      return inference::TYPE_UINT32;
    case onnx::TensorProto::UINT64:
      return inference::TYPE_UINT64;
    case onnx::TensorProto::INT8:
      return inference::TYPE_INT8;
    case onnx::TensorProto::INT16:
      return inference::TYPE_INT16;
    case onnx::TensorProto::INT32:
      return inference::TYPE_INT32;
    case onnx::TensorProto::INT64:
      return inference::TYPE_INT64;
    case onnx::TensorProto::FLOAT16:
      return inference::TYPE_FP16;
    case onnx::TensorProto::FLOAT:
      return inference::TYPE_FP32;
    case onnx::TensorProto::DOUBLE:
      return inference::TYPE_FP64;
    case onnx::TensorProto::STRING:
      return inference::TYPE_STRING;
    case onnx::TensorProto::BFLOAT16:
      return inference::TYPE_BF16;
    default:
      return inference::TYPE_INVALID;
  }
}

absl::StatusOr<OnnxTensor> Describe(const onnx::ValueInfoProto& value) {
  OnnxTensor tensor;
  tensor.name = value.name();
  if (!IsUtf8(tensor.name)) {
    return InvalidArgument("'{}' is not UTF-8, as a tensor's name must be", tensor.name);
  }
  const onnx::TypeProto::Tensor& type = value.type().tensor_type();
  tensor.datatype = FromOnnx(type.elem_type());
  if (tensor.datatype == inference::TYPE_INVALID || !type.has_shape()) {
    return InvalidArgument("'{}' is not a tensor with a known datatype and shape", tensor.name);
  }
  for (const onnx::TensorShapeProto::Dimension& dimension : type.shape().dim()) {
    tensor.shape.push_back(
        dimension.has_dim_value() && dimension.dim_value() > 0 ? dimension.dim_value() : -1);
  }
  return tensor;
}

bool Batches(const OnnxTensor& tensor) {
  return !tensor.shape.empty() && tensor.shape[0] == -1;
}

// An engine that runs a batch row by row serves any batch with a file made for one row.
bool CanBatch(const OnnxTensor& tensor) {
  return Batches(tensor) || (!tensor.shape.empty() && tensor.shape[0] == 1);
}

// Whether the tensors that the configuration describes are written without the batch dimension.
template <typename Tensor>
bool WrittenWithoutBatch(const google::protobuf::RepeatedPtrField<Tensor>& configured,
                         const std::vector<OnnxTensor>& tensors) {
  return std::ranges::all_of(configured, [&](const Tensor& tensor) {
    const auto found = std::ranges::find(tensors, tensor.name(), &OnnxTensor::name);
    return found == tensors.end() || tensor.dims().empty() ||
           static_cast<std::size_t>(tensor.dims_size()) + 1 == found->shape.size();
  });
}

template <typename Tensor>
absl::Status CompleteTensor(std::string_view kind, const OnnxTensor& file, bool batch,
                            Tensor& tensor) {
  std::span<const std::int64_t> shape = file.shape;
  if (batch) {
    if (!CanBatch(file)) {
      return InvalidArgument(
          "max_batch_size is over 0, but the model file's {} '{}' has the shape {}, whose first "
          "dimension is neither open nor 1",
          kind, file.name, ShapeText(shape));
    }
    shape = shape.subspan(1);
  }
  if (tensor.data_type() == inference::TYPE_INVALID) {
    tensor.set_data_type(file.datatype);
  }
  if (tensor.data_type() != file.datatype) {
    return InvalidArgument("{} '{}' is {} in the configuration, {} in the model file", kind,
                           file.name, DatatypeName(tensor.data_type()),
                           DatatypeName(file.datatype));
  }
  if (tensor.dims().empty()) {
    tensor.mutable_dims()->Add(shape.begin(), shape.end());
  }
  if (!std::ranges::equal(tensor.dims(), shape, [](std::int64_t configured, std::int64_t actual) {
        return actual == -1 || configured == actual;
      })) {
    const std::vector<std::int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    return InvalidArgument("{} '{}' has the dims {} in the configuration, {} in the model file{}",
                           kind, file.name, ShapeText(dims), ShapeText(shape),
                           batch ? " after the batch" : " (max_batch_size is 0)");
  }
  return absl::OkStatus();
}

template <typename Tensor>
absl::Status CompleteTensors(std::string_view kind, const std::vector<OnnxTensor>& file, bool batch,
                             bool add_missing,
                             google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) {
    if (std::ranges::find(file, tensor.name(), &OnnxTensor::name) == file.end()) {
      return InvalidArgument("the model file has no {} '{}'", kind, tensor.name());
    }
  }
  for (const OnnxTensor& wanted : file) {
    auto found = std::ranges::find(tensors, wanted.name, &Tensor::name);
    if (found == tensors.end()) {
      if (!add_missing) {
        continue;
      }
      tensors.Add()->set_name(wanted.name);
      found = tensors.end() - 1;
    }
    RETURN_IF_ERROR(CompleteTensor(kind, wanted, batch, *found));
  }
  return absl::OkStatus();
}

// Gives the pictures among the inputs, if their sides are open and the configuration says nothing
// of them, the sides that the network was made for: with open ones OpenCV can run next to none.
void NameSides(const std::vector<OnnxTensor>& inputs, const UltralyticsSize& size, bool batch,
               inference::ModelConfig& config) {
  for (const OnnxTensor& input : inputs) {
    std::vector<std::int64_t> shape = input.shape;
    if (shape.size() != 4 || shape[2] != -1 || shape[3] != -1) {
      continue;
    }
    shape[2] = size.height;
    shape[3] = size.width;
    auto configured =
        std::ranges::find(*config.mutable_input(), input.name, &inference::ModelInput::name);
    if (configured == config.mutable_input()->end()) {
      config.add_input()->set_name(input.name);
      configured = config.mutable_input()->end() - 1;
    }
    if (configured->dims().empty()) {
      configured->mutable_dims()->Add(shape.begin() + (batch ? 1 : 0), shape.end());
    }
  }
}

}  // namespace

absl::StatusOr<OnnxFile> ReadOnnxFile(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const onnx::ModelProto model, onnx_graph::ReadModelFile(file));
  OnnxFile onnx;
  std::unordered_set<std::string_view> initializers;
  for (const onnx::TensorProto& initializer : model.graph().initializer()) {
    initializers.insert(initializer.name());
  }
  for (const onnx::ValueInfoProto& input : model.graph().input()) {
    if (!initializers.contains(input.name())) {
      ASSIGN_OR_RETURN(OnnxTensor tensor, Describe(input));
      onnx.inputs.push_back(std::move(tensor));
    }
  }
  for (const onnx::ValueInfoProto& output : model.graph().output()) {
    ASSIGN_OR_RETURN(OnnxTensor tensor, Describe(output));
    onnx.outputs.push_back(std::move(tensor));
  }
  for (const onnx::StringStringEntryProto& entry : model.metadata_props()) {
    if (entry.key() == "names") {
      onnx.class_names = ParseNameList(entry.value());
    } else if (entry.key() == "imgsz") {
      onnx.picture_size = ParseUltralyticsSize(entry.value());
    }
  }
  return onnx;
}

absl::Status CompleteFromOnnx(const OnnxFile& onnx, inference::ModelConfig& config) {
  if (config.max_batch_size() == 0 && std::ranges::all_of(onnx.inputs, Batches) &&
      std::ranges::all_of(onnx.outputs, Batches) &&
      WrittenWithoutBatch(config.input(), onnx.inputs) &&
      WrittenWithoutBatch(config.output(), onnx.outputs)) {
    config.set_max_batch_size(kDefaultMaxBatchSize);
  }
  const bool batch = config.max_batch_size() > 0;
  if (onnx.picture_size) {
    NameSides(onnx.inputs, *onnx.picture_size, batch, config);
  }
  RETURN_IF_ERROR(CompleteTensors("input", onnx.inputs, batch, true, *config.mutable_input()));
  return CompleteTensors("output", onnx.outputs, batch, config.output().empty(),
                         *config.mutable_output());
}

}  // namespace inferpool::modelserver
