#include "modelserver/service/top_classes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace inferpool::modelserver {
namespace {

// As Triton. All of a row is sorted by index at worst, and some clients ask for all.
constexpr std::int64_t kMaxRowElements = 1'000'000;

// Numbers of any type, as T; the memory need not be aligned.
template <typename T>
std::vector<T> Numbers(std::span<const std::byte> data) {
  std::vector<T> numbers(data.size() / sizeof(T));
  if (!numbers.empty()) std::memcpy(numbers.data(), data.data(), numbers.size() * sizeof(T));
  return numbers;
}

// Higher values first, equal ones by index, what is not a number last.
template <typename T>
bool Before(T one, std::size_t one_index, T other, std::size_t other_index) {
  const bool one_is_number = one == one;
  const bool other_is_number = other == other;
  if (one_is_number != other_is_number) return one_is_number;
  if (one_is_number && one != other) return one > other;
  return one_index < other_index;
}

template <typename T>
std::string Rows(std::span<const std::byte> data, std::size_t rows, std::size_t count,
                 std::span<const std::string> labels) {
  const std::vector<T> numbers = Numbers<T>(data);
  const std::size_t width = rows == 0 ? 0 : numbers.size() / rows;
  std::string raw;
  for (std::size_t row = 0; row < rows; ++row) {
    const T* values = numbers.data() + row * width;
    std::vector<std::size_t> order(width);
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count),
                      order.end(), [values](std::size_t one, std::size_t other) {
                        return Before(values[one], one, values[other], other);
                      });
    for (std::size_t i = 0; i < count; ++i) {
      std::string element = fmt::format("{}:{}", std::to_string(+values[order[i]]), order[i]);
      if (order[i] < labels.size() && !labels[order[i]].empty()) {
        element += fmt::format(":{}", labels[order[i]]);
      }
      AppendBytesElement(element, raw);
    }
  }
  return raw;
}

}  // namespace

absl::StatusOr<TopClasses> FindTopClasses(const TensorView& output, std::int64_t count,
                                          bool batches, std::span<const std::string> labels) {
  if (count < 1) {
    return InvalidArgument("output '{}': the classification of {} classes", output.name, count);
  }
  ASSIGN_OR_RETURN(const std::int64_t elements, ElementCount(output.shape));
  const std::int64_t rows = batches && !output.shape.empty() ? output.shape[0] : 1;
  const std::int64_t width = rows == 0 ? 0 : elements / rows;
  if (width > kMaxRowElements) {
    return InvalidArgument("output '{}': classification output tensor too large: {} elements a row",
                           output.name, width);
  }
  TopClasses top;
  const std::int64_t found = std::min(count, width);
  top.shape = batches ? std::vector{rows, found} : std::vector{found};
  const auto make = [&]<typename T>(T) {
    top.raw = Rows<T>(output.data, static_cast<std::size_t>(rows), static_cast<std::size_t>(found),
                      labels);
    return top;
  };
  switch (output.datatype) {
    case inference::TYPE_UINT8:
      return make(std::uint8_t{});
    case inference::TYPE_UINT16:
      return make(std::uint16_t{});
    case inference::TYPE_UINT32:
      return make(std::uint32_t{});
    case inference::TYPE_UINT64:
      return make(std::uint64_t{});
    case inference::TYPE_INT8:
      return make(std::int8_t{});
    case inference::TYPE_INT16:
      return make(std::int16_t{});
    case inference::TYPE_INT32:
      return make(std::int32_t{});
    case inference::TYPE_INT64:
      return make(std::int64_t{});
    case inference::TYPE_FP32:
      return make(float{});
    case inference::TYPE_FP64:
      return make(double{});
    default:
      return InvalidArgument("output '{}' is {}, which has no classes", output.name,
                             DatatypeName(output.datatype));
  }
}

}  // namespace inferpool::modelserver
