#include "proto/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace inferpool {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <typename T>
std::span<const std::byte> Bytes(const google::protobuf::RepeatedField<T>& values) {
  return std::as_bytes(std::span(values.data(), static_cast<std::size_t>(values.size())));
}

// Elements that travel as 32 bit, at their own width. Error: one that does not fit.
template <typename Narrow, typename Wide>
absl::Status AppendNarrow(const google::protobuf::RepeatedField<Wide>& values, std::string& raw) {
  raw.reserve(static_cast<std::size_t>(values.size()) * sizeof(Narrow));
  for (const Wide value : values) {
    if (!std::in_range<Narrow>(value)) {
      return InvalidArgument("the value {} does not fit", value);
    }
    const auto narrow = static_cast<Narrow>(value);
    raw.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
  }
  return absl::OkStatus();
}

int FilledLists(const inference::InferTensorContents& contents) {
  return (contents.bool_contents_size() > 0) + (contents.int_contents_size() > 0) +
         (contents.int64_contents_size() > 0) + (contents.uint_contents_size() > 0) +
         (contents.uint64_contents_size() > 0) + (contents.fp32_contents_size() > 0) +
         (contents.fp64_contents_size() > 0) + (contents.bytes_contents_size() > 0);
}

// Typed contents as the raw bytes they stand for: a view, or rewritten into `rewritten`.
absl::StatusOr<std::span<const std::byte>> TypedData(inference::DataType datatype,
                                                     const inference::InferTensorContents& contents,
                                                     std::string& rewritten) {
  switch (datatype) {
    case inference::TYPE_BOOL:
      return Bytes(contents.bool_contents());
    case inference::TYPE_INT32:
      return Bytes(contents.int_contents());
    case inference::TYPE_INT64:
      return Bytes(contents.int64_contents());
    case inference::TYPE_UINT32:
      return Bytes(contents.uint_contents());
    case inference::TYPE_UINT64:
      return Bytes(contents.uint64_contents());
    case inference::TYPE_FP32:
      return Bytes(contents.fp32_contents());
    case inference::TYPE_FP64:
      return Bytes(contents.fp64_contents());
    case inference::TYPE_INT8:
      RETURN_IF_ERROR(AppendNarrow<std::int8_t>(contents.int_contents(), rewritten));
      return Bytes(rewritten);
    case inference::TYPE_INT16:
      RETURN_IF_ERROR(AppendNarrow<std::int16_t>(contents.int_contents(), rewritten));
      return Bytes(rewritten);
    case inference::TYPE_UINT8:
      RETURN_IF_ERROR(AppendNarrow<std::uint8_t>(contents.uint_contents(), rewritten));
      return Bytes(rewritten);
    case inference::TYPE_UINT16:
      RETURN_IF_ERROR(AppendNarrow<std::uint16_t>(contents.uint_contents(), rewritten));
      return Bytes(rewritten);
    case inference::TYPE_STRING:
      for (const std::string& element : contents.bytes_contents()) {
        AppendBytesElement(element, rewritten);
      }
      return Bytes(rewritten);
    default:
      return InvalidArgument("{} travels as raw contents only", DatatypeName(datatype));
  }
}

// A parameter that is a size; none when it is absent.
absl::StatusOr<std::optional<std::uint64_t>> ReadSize(const TensorParameters& parameters,
                                                      const std::string& key) {
  const auto found = parameters.find(key);
  if (found == parameters.end()) {
    return std::nullopt;
  }
  const inference::InferParameter& parameter = found->second;
  if (parameter.has_uint64_param()) {
    return parameter.uint64_param();
  }
  if (parameter.has_int64_param() && parameter.int64_param() >= 0) {
    return static_cast<std::uint64_t>(parameter.int64_param());
  }
  return InvalidArgument("'{}' is not a whole number from 0", key);
}

absl::Status CheckSize(const TensorView& tensor) {
  if (tensor.datatype == inference::TYPE_STRING) {
    ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(tensor.shape));
    return DecodeBytes(tensor.data, count).status();
  }
  ASSIGN_OR_RETURN(const std::size_t size, ByteSize(tensor.datatype, tensor.shape));
  if (size != tensor.data.size()) {
    return InvalidArgument("{} of shape {} takes {} bytes, there are {}",
                           DatatypeName(tensor.datatype), ShapeText(tensor.shape), size,
                           tensor.data.size());
  }
  return absl::OkStatus();
}

}  // namespace

// Reads the tensors of either message; `kind` is the word for one in messages.
class TensorListBuilder {
 public:
  template <typename Tensor>
  static absl::StatusOr<TensorList> Read(std::string_view kind,
                                         const google::protobuf::RepeatedPtrField<Tensor>& tensors,
                                         const google::protobuf::RepeatedPtrField<std::string>& raw,
                                         const SharedMemoryLookup& lookup) {
    TensorList list;
    list.tensors_.reserve(static_cast<std::size_t>(tensors.size()));
    std::unordered_set<std::string_view> names;
    int raw_used = 0;
    for (const Tensor& tensor : tensors) {
      const auto failed = [&](const absl::Status& status) {
        return absl::Status(status.code(),
                            fmt::format("{} '{}': {}", kind, tensor.name(), Message(status)));
      };
      if (!names.insert(tensor.name()).second) {
        return failed(InvalidArgument("it is given twice"));
      }
      const absl::StatusOr<std::optional<SharedMemoryReference>> shared =
          ReadSharedMemory(tensor.parameters());
      if (!shared.ok()) {
        return failed(shared.status());
      }
      if (!raw.empty() && tensor.has_contents()) {
        return failed(InvalidArgument("contents together with raw contents"));
      }
      TensorView view;
      view.name = tensor.name();
      view.datatype = ParseDatatype(tensor.datatype());
      view.shape = {tensor.shape().data(), static_cast<std::size_t>(tensor.shape().size())};
      if (view.datatype == inference::TYPE_INVALID) {
        return failed(InvalidArgument("unknown datatype '{}'", tensor.datatype()));
      }
      if (shared->has_value()) {
        if (tensor.has_contents()) {
          return failed(InvalidArgument("contents together with shared memory"));
        }
        const auto data = lookup == nullptr
                              ? absl::UnimplementedError("shared memory is not supported")
                              : lookup(**shared);
        if (!data.ok()) {
          return failed(data.status());
        }
        view.data = *data;
        view.shared = true;
      } else if (!raw.empty()) {
        if (raw_used == raw.size()) {
          return failed(InvalidArgument("no raw contents are left for it"));
        }
        view.data = Bytes(raw[raw_used]);
        ++raw_used;
      } else if (const absl::Status status = ReadTyped(tensor.contents(), list, view);
                 !status.ok()) {
        return failed(status);
      }
      if (const absl::Status status = CheckSize(view); !status.ok()) {
        return failed(status);
      }
      list.tensors_.push_back(view);
    }
    if (raw_used != raw.size()) {
      return InvalidArgument("{} raw contents for {} {}s", raw.size(), raw_used, kind);
    }
    return list;
  }

 private:
  static absl::Status ReadTyped(const inference::InferTensorContents& contents, TensorList& list,
                                TensorView& view) {
    std::string rewritten;
    ASSIGN_OR_RETURN(const std::span<const std::byte> data,
                     TypedData(view.datatype, contents, rewritten));
    if (FilledLists(contents) > (data.empty() ? 0 : 1)) {
      return InvalidArgument("contents that are not of datatype {}", DatatypeName(view.datatype));
    }
    if (rewritten.empty()) {
      view.data = data;
    } else {
      view.data = Bytes(list.rewritten_.emplace_back(std::move(rewritten)));
    }
    return absl::OkStatus();
  }
};

void AppendBytesElement(std::string_view element, std::string& raw) {
  const auto length = static_cast<std::uint32_t>(element.size());
  raw.append(reinterpret_cast<const char*>(&length), sizeof length);
  raw.append(element);
}

absl::StatusOr<std::vector<std::string_view>> DecodeBytes(std::span<const std::byte> raw,
                                                          std::int64_t count) {
  constexpr std::size_t kPrefix = sizeof(std::uint32_t);
  if (count < 0 || static_cast<std::uint64_t>(count) > raw.size() / kPrefix) {
    return InvalidArgument("{} bytes cannot hold {} BYTES elements", raw.size(), count);
  }
  std::vector<std::string_view> elements;
  elements.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint32_t length = 0;
    if (raw.size() < kPrefix) {
      return InvalidArgument("BYTES element {} has no length", i);
    }
    std::memcpy(&length, raw.data(), kPrefix);
    raw = raw.subspan(kPrefix);
    if (raw.size() < length) {
      return InvalidArgument("BYTES element {} says {} bytes, {} are left", i, length, raw.size());
    }
    elements.emplace_back(reinterpret_cast<const char*>(raw.data()), length);
    raw = raw.subspan(length);
  }
  if (!raw.empty()) {
    return InvalidArgument("{} bytes are left after {} BYTES elements", raw.size(), count);
  }
  return elements;
}

const TensorView* TensorList::Find(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &TensorView::name);
  return found == tensors_.end() ? nullptr : &*found;
}

absl::StatusOr<std::optional<SharedMemoryReference>> ReadSharedMemory(
    const TensorParameters& parameters) {
  const auto region = parameters.find("shared_memory_region");
  if (region == parameters.end()) {
    return std::nullopt;
  }
  SharedMemoryReference reference;
  reference.region = region->second.string_param();
  if (!region->second.has_string_param() || reference.region.empty()) {
    return InvalidArgument("'shared_memory_region' is not a text");
  }
  ASSIGN_OR_RETURN(const auto byte_size, ReadSize(parameters, "shared_memory_byte_size"));
  if (!byte_size.has_value()) {
    return InvalidArgument(
        "'shared_memory_byte_size' must be given along with 'shared_memory_region'");
  }
  reference.byte_size = *byte_size;
  ASSIGN_OR_RETURN(const auto offset, ReadSize(parameters, "shared_memory_offset"));
  reference.offset = offset.value_or(0);
  return reference;
}

absl::StatusOr<TensorList> ReadInputs(const inference::ModelInferRequest& request,
                                      const SharedMemoryLookup& lookup) {
  return TensorListBuilder::Read("input", request.inputs(), request.raw_input_contents(), lookup);
}

absl::StatusOr<TensorList> ReadOutputs(const inference::ModelInferResponse& response) {
  return TensorListBuilder::Read("output", response.outputs(), response.raw_output_contents(),
                                 nullptr);
}

std::string& AddRawInput(inference::ModelInferRequest& request, std::string_view name,
                         inference::DataType datatype, std::span<const std::int64_t> shape) {
  auto& input = *request.add_inputs();
  input.set_name(std::string(name));
  input.set_datatype(std::string(DatatypeName(datatype)));
  input.mutable_shape()->Add(shape.begin(), shape.end());
  return *request.add_raw_input_contents();
}

std::string& AddRawOutput(inference::ModelInferResponse& response, std::string_view name,
                          inference::DataType datatype, std::span<const std::int64_t> shape) {
  auto& output = *response.add_outputs();
  output.set_name(std::string(name));
  output.set_datatype(std::string(DatatypeName(datatype)));
  output.mutable_shape()->Add(shape.begin(), shape.end());
  return *response.add_raw_output_contents();
}

}  // namespace inferpool
