#include "proto/datatype.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

namespace inferpool {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian and tensors are passed through as they are");
static_assert(sizeof(bool) == 1);

struct Datatype {
  std::string_view name;
  std::size_t size;
};

// Indexed by inference::DataType.
constexpr std::array<Datatype, inference::DataType_ARRAYSIZE> kDatatypes = {{
    {"", 0},
    {"BOOL", 1},
    {"UINT8", 1},
    {"UINT16", 2},
    {"UINT32", 4},
    {"UINT64", 8},
    {"INT8", 1},
    {"INT16", 2},
    {"INT32", 4},
    {"INT64", 8},
    {"FP16", 2},
    {"FP32", 4},
    {"FP64", 8},
    {"BYTES", 0},
    {"BF16", 2},
}};

const Datatype& Describe(inference::DataType datatype) {
  return kDatatypes[inference::DataType_IsValid(datatype) ? static_cast<std::size_t>(datatype) : 0];
}

}  // namespace

std::string_view DatatypeName(inference::DataType datatype) {
  return Describe(datatype).name;
}

inference::DataType ParseDatatype(std::string_view name) {
  const auto* found = std::ranges::find(kDatatypes, name, &Datatype::name);
  return found == kDatatypes.end() ? inference::TYPE_INVALID
                                   : static_cast<inference::DataType>(found - kDatatypes.begin());
}

std::size_t ElementSize(inference::DataType datatype) {
  return Describe(datatype).size;
}

absl::StatusOr<std::int64_t> ElementCount(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) {
      return InvalidArgument("the shape {} has a negative dimension", ShapeText(shape));
    }
    if (__builtin_mul_overflow(count, dimension, &count)) {
      return InvalidArgument("the shape {} is too large", ShapeText(shape));
    }
  }
  return count;
}

absl::StatusOr<std::size_t> ByteSize(inference::DataType datatype,
                                     std::span<const std::int64_t> shape) {
  const std::size_t element_size = ElementSize(datatype);
  if (element_size == 0) {
    return InvalidArgument("the datatype has no fixed size");
  }
  ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(shape));
  std::size_t size = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(count), element_size, &size)) {
    return InvalidArgument("the shape {} is too large", ShapeText(shape));
  }
  return size;
}

std::string ShapeText(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ","));
}

}  // namespace inferpool
