#include "modelserver/onnxruntime/value.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proto/tensor.h"

namespace inferpool::ort {
namespace {

constexpr std::array<std::pair<ElementType, inference::DataType>, 14> kTypes = {{
    {kFloat, inference::TYPE_FP32},
    {kUint8, inference::TYPE_UINT8},
    {kInt8, inference::TYPE_INT8},
    {kUint16, inference::TYPE_UINT16},
    {kInt16, inference::TYPE_INT16},
    {kInt32, inference::TYPE_INT32},
    {kInt64, inference::TYPE_INT64},
    {kString, inference::TYPE_STRING},
    {kBool, inference::TYPE_BOOL},
    {kFloat16, inference::TYPE_FP16},
    {kDouble, inference::TYPE_FP64},
    {kUint32, inference::TYPE_UINT32},
    {kUint64, inference::TYPE_UINT64},
    {kBfloat16, inference::TYPE_BF16},
}};

}  // namespace

inference::DataType FromElementType(ElementType type) {
  const auto* found = std::ranges::find(kTypes, type, [](const auto& pair) { return pair.first; });
  return found == kTypes.end() ? inference::TYPE_INVALID : found->second;
}

ElementType ToElementType(inference::DataType datatype) {
  const auto* found =
      std::ranges::find(kTypes, datatype, [](const auto& pair) { return pair.second; });
  return found == kTypes.end() ? kUndefined : found->first;
}

absl::StatusOr<Value> Value::Over(const Library& library, inference::DataType datatype,
                                  std::span<const std::int64_t> shape,
                                  std::span<const std::byte> data) {
  // The runtime takes no null pointer, not even for no elements.
  static std::byte nothing{};
  void* memory = data.empty() ? &nothing : const_cast<std::byte*>(data.data());
  OrtValue* value = nullptr;
  RETURN_IF_ERROR(library.Check(library.api()(kCreateTensorWithDataAsOrtValue, library.memory(),
                                              memory, data.size(), shape.data(), shape.size(),
                                              ToElementType(datatype), &value)));
  return Value(Owner(value, {&library.api()}));
}

absl::StatusOr<Value> Value::OfStrings(const Library& library, std::span<const std::int64_t> shape,
                                       std::span<const std::string_view> strings) {
  const Api& api = library.api();
  OrtValue* made = nullptr;
  RETURN_IF_ERROR(library.Check(api(kCreateTensorAsOrtValue, library.allocator(), shape.data(),
                                    shape.size(), kString, &made)));
  Value value(Owner(made, {&api}));
  for (std::size_t i = 0; i < strings.size(); ++i) {
    char* buffer = nullptr;
    RETURN_IF_ERROR(library.Check(
        api(kGetResizedStringTensorElementBuffer, value.get(), i, strings[i].size(), &buffer)));
    std::ranges::copy(strings[i], buffer);
  }
  return value;
}

absl::StatusOr<Value::Contents> Value::Read(const Library& library) const {
  const Api& api = library.api();
  OnnxType type{};
  RETURN_IF_ERROR(library.Check(api(kGetValueType, value_.get(), &type)));
  if (type != kTensorType) {
    return absl::InternalError("an output is not a tensor");
  }
  OrtTensorTypeAndShapeInfo* made = nullptr;
  RETURN_IF_ERROR(library.Check(api(kGetTensorTypeAndShape, value_.get(), &made)));
  const Handle<OrtTensorTypeAndShapeInfo, kReleaseTensorTypeAndShapeInfo> info(made, {&api});
  ElementType element{};
  RETURN_IF_ERROR(library.Check(api(kGetTensorElementType, info.get(), &element)));
  std::size_t dimensions = 0;
  RETURN_IF_ERROR(library.Check(api(kGetDimensionsCount, info.get(), &dimensions)));
  Contents contents;
  contents.datatype = FromElementType(element);
  contents.shape.resize(dimensions);
  RETURN_IF_ERROR(
      library.Check(api(kGetDimensions, info.get(), contents.shape.data(), dimensions)));
  if (contents.datatype == inference::TYPE_INVALID) {
    return absl::InternalError("an output has a datatype that KServe does not have");
  }
  if (contents.datatype == inference::TYPE_STRING) {
    return contents;
  }
  ASSIGN_OR_RETURN(const std::size_t bytes, ByteSize(contents.datatype, contents.shape));
  void* data = nullptr;
  RETURN_IF_ERROR(library.Check(api(kGetTensorMutableData, value_.get(), &data)));
  contents.data = {static_cast<const std::byte*>(data), bytes};
  return contents;
}

absl::Status Value::AppendStrings(const Library& library, std::size_t count,
                                  std::string& raw) const {
  if (count == 0) {
    return absl::OkStatus();
  }
  std::size_t bytes = 0;
  RETURN_IF_ERROR(library.Check(library.api()(kGetStringTensorDataLength, value_.get(), &bytes)));
  std::string text(bytes, '\0');
  std::vector<std::size_t> starts(count);
  RETURN_IF_ERROR(library.Check(library.api()(kGetStringTensorContent, value_.get(), text.data(),
                                              bytes, starts.data(), count)));
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = i + 1 < count ? starts[i + 1] : bytes;
    AppendBytesElement(std::string_view(text).substr(starts[i], end - starts[i]), raw);
  }
  return absl::OkStatus();
}

}  // namespace inferpool::ort
