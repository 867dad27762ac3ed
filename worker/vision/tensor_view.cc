#include "worker/vision/tensor_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <opencv2/core.hpp>
#include <optional>

#include "shared/base/status.h"

namespace inferpool::vision {
namespace {

absl::Status Wrong(const TensorView& tensor, std::string_view what) {
  return absl::InternalError(fmt::format("the model's output {} ({} [{}], {} bytes) {}",
                                         tensor.name, tensor.datatype,
                                         fmt::join(tensor.shape, ", "), tensor.data.size(), what));
}

std::size_t BytesPerValue(std::string_view datatype) {
  if (datatype == "FP32" || datatype == "INT32") {
    return 4;
  }
  return datatype == "FP16" ? 2 : 0;
}

// Nothing when the shape is absurd. OpenCV counts in int, and no sane head needs more.
std::optional<std::size_t> CountValues(const std::vector<std::int64_t>& shape) {
  constexpr std::int64_t kMax = std::numeric_limits<int>::max();
  std::int64_t count = 1;
  for (const std::int64_t length : shape) {
    if (length < 0 || (length > 0 && count > kMax / length)) {
      return std::nullopt;
    }
    count *= length;
  }
  return static_cast<std::size_t>(count);
}

absl::StatusOr<std::vector<std::size_t>> RowShape(const TensorView& tensor, std::size_t rank) {
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
  const std::size_t value_bytes = BytesPerValue(tensor.datatype);
  if (value_bytes == 0) {
    return Wrong(tensor, "has a datatype that cannot be read here");
  }
  const std::optional<std::size_t> count = CountValues(tensor.shape);
  if (!count || *count * value_bytes != tensor.data.size()) {
    return Wrong(tensor, "does not have the bytes that its shape takes");
  }
  absl::StatusOr<std::vector<std::size_t>> shape = RowShape(tensor, rank);
  if (!shape.ok()) {
    return shape.status();
  }
  if (*count == 0) {
    return Numbers(*std::move(shape), std::vector<float>());
  }
  if (tensor.datatype == "FP16") {
    return Numbers(*std::move(shape), Convert<std::uint16_t>(tensor.data, CV_16F));
  }
  if (tensor.datatype == "INT32") {
    return Numbers(*std::move(shape), Convert<std::int32_t>(tensor.data, CV_32S));
  }
  if (!IsAlignedForFloat(tensor.data)) {
    return Numbers(*std::move(shape), Convert<float>(tensor.data, CV_32F));
  }
  return Numbers(*std::move(shape),
                 std::span(reinterpret_cast<const float*>(tensor.data.data()), *count));
}

}  // namespace inferpool::vision
