// KServe v2's datatypes, shapes and tensors in memory, for whoever handles tensors without
// messages. Elements are little-endian and in row-major order. All functions are pure and thread
// safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool {

// The datatype's name in the protocol: "FP32", and "BYTES" for TYPE_STRING. Empty for TYPE_INVALID
// and for values that are not in the enumeration.
std::string_view DatatypeName(inference::DataType datatype);

// The datatype of that name; TYPE_INVALID for an unknown name.
inference::DataType ParseDatatype(std::string_view name);

// The bytes of one element; 0 for TYPE_STRING, whose elements differ in size, and for TYPE_INVALID.
std::size_t ElementSize(inference::DataType datatype);

// The TYPE_ value of a C++ type: DatatypeOf<float> is TYPE_FP32.
template <typename T>
inline constexpr inference::DataType DatatypeOf = inference::TYPE_INVALID;
template <>
inline constexpr inference::DataType DatatypeOf<bool> = inference::TYPE_BOOL;
template <>
inline constexpr inference::DataType DatatypeOf<std::uint8_t> = inference::TYPE_UINT8;
template <>
inline constexpr inference::DataType DatatypeOf<std::uint16_t> = inference::TYPE_UINT16;
template <>
inline constexpr inference::DataType DatatypeOf<std::uint32_t> = inference::TYPE_UINT32;
template <>
inline constexpr inference::DataType DatatypeOf<std::uint64_t> = inference::TYPE_UINT64;
template <>
inline constexpr inference::DataType DatatypeOf<std::int8_t> = inference::TYPE_INT8;
template <>
inline constexpr inference::DataType DatatypeOf<std::int16_t> = inference::TYPE_INT16;
template <>
inline constexpr inference::DataType DatatypeOf<std::int32_t> = inference::TYPE_INT32;
template <>
inline constexpr inference::DataType DatatypeOf<std::int64_t> = inference::TYPE_INT64;
template <>
inline constexpr inference::DataType DatatypeOf<float> = inference::TYPE_FP32;
template <>
inline constexpr inference::DataType DatatypeOf<double> = inference::TYPE_FP64;

// The number of elements of a shape: 1 for a scalar (no dimensions), 0 when a dimension is 0.
// INVALID_ARGUMENT when a dimension is negative or the number exceeds int64.
absl::StatusOr<std::int64_t> ElementCount(std::span<const std::int64_t> shape);

// The bytes of a tensor whose elements have a fixed size. INVALID_ARGUMENT as for ElementCount, and
// for TYPE_STRING and TYPE_INVALID.
absl::StatusOr<std::size_t> ByteSize(inference::DataType datatype,
                                     std::span<const std::int64_t> shape);

// The shape as people read it: "[1,-1,3]".
std::string ShapeText(std::span<const std::int64_t> shape);

// A tensor whose name, shape and data somebody else owns. Functions that return one promise that
// `data` has the size that `datatype` and `shape` take.
struct TensorView {
  std::string_view name;
  inference::DataType datatype = inference::TYPE_INVALID;
  std::span<const std::int64_t> shape;
  std::span<const std::byte> data;
  // Whether `data` is in shared memory, where its owner can change it at any time.
  bool shared = false;
};

// The elements of `tensor`, without a copy. INVALID_ARGUMENT when it has another datatype or its
// data is not aligned for T.
template <typename T>
absl::StatusOr<std::span<const T>> Elements(const TensorView& tensor) {
  static_assert(DatatypeOf<T> != inference::TYPE_INVALID);
  if (tensor.datatype != DatatypeOf<T> || tensor.data.size() % sizeof(T) != 0 ||
      reinterpret_cast<std::uintptr_t>(tensor.data.data()) % alignof(T) != 0) {
    return InvalidArgument("the tensor's data cannot be read as the type asked for");
  }
  return std::span<const T>(reinterpret_cast<const T*>(tensor.data.data()),
                            tensor.data.size() / sizeof(T));
}

}  // namespace inferpool
