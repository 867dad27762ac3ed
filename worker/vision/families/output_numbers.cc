#include "worker/vision/families/output_numbers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <opencv2/core.hpp>
#include <optional>
#include <utility>

#include "shared/base/status.h"

namespace inferpool::vision {
namespace {

absl::Status Wrong(const TensorView& tensor, std::string_view what) {
  return absl::InternalError(fmt::format("the model's output {} ({} [{}], {} bytes) {}",
                                         tensor.name, DatatypeName(tensor.datatype),
                                         fmt::join(tensor.shape, ", "), tensor.data.size(), what));
}

bool IsReadable(inference::DataType datatype) {
  return datatype == inference::TYPE_FP32 || datatype == inference::TYPE_FP16 ||
         datatype == inference::TYPE_FP64 || datatype == inference::TYPE_INT32 ||
         datatype == inference::TYPE_INT64 || datatype == inference::TYPE_UINT8;
}

// Whether the tensor has the bytes that its shape takes. OpenCV counts the values in int.
bool HasItsBytes(const TensorView& tensor) {
  const absl::StatusOr<std::size_t> bytes = ByteSize(tensor.datatype, tensor.shape);
  return bytes.ok() && *bytes == tensor.data.size() &&
         std::in_range<int>(*bytes / ElementSize(tensor.datatype));
}

// The tensor's shape for one picture, as `rank` dimensions.
absl::StatusOr<std::vector<std::size_t>> ShapeOfRank(const TensorView& tensor, std::size_t rank) {
  std::span<const std::int64_t> shape = tensor.shape;
  while (shape.size() > rank && shape.front() == 1) {
    shape = shape.subspan(1);
  }
  while (rank == 1 && shape.size() > rank && shape.back() == 1) {
    shape = shape.first(shape.size() - 1);
  }
  if (shape.size() != rank) {
    return Wrong(tensor, fmt::format("does not have {} dimension{} for one picture", rank,
                                     rank == 1 ? "" : "s"));
  }
  return std::vector<std::size_t>(shape.begin(), shape.end());
}

// Copied to `From`s first: the bytes may lie at any address.
template <typename From>
std::vector<float> Convert(std::span<const std::byte> data, int opencv_depth) {
  std::vector<From> values(data.size() / sizeof(From));
  std::memcpy(values.data(), data.data(), data.size());
  const int count = static_cast<int>(values.size());
  std::vector<float> floats(values.size());
  cv::Mat converted(1, count, CV_32F, floats.data());
  cv::Mat(1, count, opencv_depth, values.data()).convertTo(converted, CV_32F);
  return floats;
}

template <typename From>
std::vector<float> Cast(std::span<const std::byte> data) {
  std::vector<float> floats(data.size() / sizeof(From));
  for (std::size_t i = 0; i < floats.size(); ++i) {
    From value;
    std::memcpy(&value, data.data() + i * sizeof(From), sizeof(From));
    floats[i] = static_cast<float>(value);
  }
  return floats;
}

// The values as floats where they are none yet.
std::optional<std::vector<float>> Converted(const TensorView& tensor) {
  switch (tensor.datatype) {
    case inference::TYPE_FP16:
      return Convert<std::uint16_t>(tensor.data, CV_16F);
    case inference::TYPE_INT32:
      return Convert<std::int32_t>(tensor.data, CV_32S);
    case inference::TYPE_FP64:
      return Cast<double>(tensor.data);
    case inference::TYPE_INT64:
      return Cast<std::int64_t>(tensor.data);
    case inference::TYPE_UINT8:
      return Cast<std::uint8_t>(tensor.data);
    default:
      return std::nullopt;
  }
}

bool IsAlignedForFloat(std::span<const std::byte> data) {
  return reinterpret_cast<std::uintptr_t>(data.data()) % alignof(float) == 0;
}

}  // namespace

absl::StatusOr<Numbers> ReadOutput(std::span<const TensorView> outputs, std::string_view name,
                                   std::size_t rank) {
  const auto found = std::find_if(outputs.begin(), outputs.end(),
                                  [&](const TensorView& output) { return output.name == name; });
  if (found == outputs.end()) {
    return absl::InternalError(fmt::format("the model did not answer with the output {}", name));
  }
  const TensorView& tensor = *found;
  if (!IsReadable(tensor.datatype)) {
    return Wrong(tensor, "has a datatype that cannot be read here");
  }
  if (!HasItsBytes(tensor)) {
    return Wrong(tensor, "does not have the bytes that its shape takes");
  }
  ASSIGN_OR_RETURN(std::vector<std::size_t> shape, ShapeOfRank(tensor, rank));
  if (tensor.data.empty()) {
    return Numbers(std::move(shape), std::vector<float>());
  }
  if (std::optional<std::vector<float>> floats = Converted(tensor)) {
    return Numbers(std::move(shape), *std::move(floats));
  }
  if (!IsAlignedForFloat(tensor.data)) {
    return Numbers(std::move(shape), Convert<float>(tensor.data, CV_32F));
  }
  return Numbers(std::move(shape), std::span(reinterpret_cast<const float*>(tensor.data.data()),
                                             tensor.data.size() / sizeof(float)));
}

}  // namespace inferpool::vision
