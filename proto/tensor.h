// The tensor codec of KServe v2, for both ends of the wire: datatypes, sizes, BYTES framing, and
// tensors in and out of ModelInferRequest and ModelInferResponse.
//
// Elements are little-endian and row-major, as the protocol says and as our machines are. All
// functions are pure and thread safe. What is malformed is INVALID_ARGUMENT with a text for the
// sender. Sources: Triton's protocol_extensions and grpc_service.proto (shared WIRE.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/kserve.pb.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool {

// The wire's name ("FP32"; "BYTES" for TYPE_STRING); empty for TYPE_INVALID and foreign values.
std::string_view DatatypeName(inference::DataType datatype);

// The opposite; TYPE_INVALID for an unknown name.
inference::DataType ParseDatatype(std::string_view name);

// Bytes an element takes; 0 for TYPE_STRING, whose elements vary, and TYPE_INVALID.
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
// Error: a negative dimension, or a product past int64.
absl::StatusOr<std::int64_t> ElementCount(std::span<const std::int64_t> shape);

// Bytes of a tensor of fixed-size elements. Errors: as ElementCount; TYPE_STRING; TYPE_INVALID.
absl::StatusOr<std::size_t> ByteSize(inference::DataType datatype,
                                     std::span<const std::int64_t> shape);

// "[1,-1,3]", for messages.
std::string ShapeText(std::span<const std::int64_t> shape);

// Appends one BYTES element: its length as uint32, then itself. `element` is under 4 GiB.
void AppendBytesElement(std::string_view element, std::string& raw);

// The `count` elements of a BYTES tensor, as views into `raw`. Error: lengths that do not fill
// `raw` exactly.
absl::StatusOr<std::vector<std::string_view>> DecodeBytes(std::span<const std::byte> raw,
                                                          std::int64_t count);

// A tensor somebody else owns. `data` has the size that `datatype` and `shape` ask for.
struct TensorView {
  std::string_view name;
  inference::DataType datatype = inference::TYPE_INVALID;
  std::span<const std::int64_t> shape;
  std::span<const std::byte> data;
};

// The elements of `tensor`, without a copy. Error: another datatype, or data that is not aligned
// for T (never so for tensors of a TensorList, which are aligned to 8).
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

// The tensors of one message, in its order. Views point into the message, which must outlive the
// list unchanged, and where elements had to be rewritten (typed BYTES, 8 and 16 bit), into the
// list.
class TensorList {
 public:
  TensorList() = default;
  // Tensors of somebody else's, each sound and of a name of its own.
  explicit TensorList(std::vector<TensorView> tensors) : tensors_(std::move(tensors)) {}
  TensorList(TensorList&&) = default;
  TensorList& operator=(TensorList&&) = default;

  const std::vector<TensorView>& tensors() const { return tensors_; }

  // Null when there is none of that name. Lives as long as the list.
  const TensorView* Find(std::string_view name) const;

 private:
  friend class TensorListBuilder;

  std::vector<TensorView> tensors_;
  std::deque<std::string> rewritten_;  // elements never move
};

// Trailing metadata that our model server adds to a ModelInfer's error: it has ended its work on
// the request, which the error's code alone does not say, as gRPC makes such errors too.
inline constexpr const char* kAnsweredMark = "inferpool-answered";

// Where a tensor in shared memory lies: the parameters shared_memory_region,
// shared_memory_byte_size and shared_memory_offset (0 when absent) of the extension.
struct SharedMemoryReference {
  std::string region;
  std::uint64_t offset = 0;
  std::uint64_t byte_size = 0;
};

using TensorParameters = google::protobuf::Map<std::string, inference::InferParameter>;

// What a tensor's parameters say of shared memory; none without shared_memory_region. Error: a
// parameter of another type, or no byte size.
absl::StatusOr<std::optional<SharedMemoryReference>> ReadSharedMemory(
    const TensorParameters& parameters);

// Gives the memory that a reference means; the list built with it views that memory.
using SharedMemoryLookup =
    std::function<absl::StatusOr<std::span<const std::byte>>(const SharedMemoryReference&)>;

// The request's inputs: raw contents are not copied. Each name is there once, each datatype is
// known, each shape has no negative dimension and its data's size matches. Raw entries belong, in
// order, to the inputs that are not in shared memory. Errors besides: `contents` together with raw
// contents, contents of another datatype's list, too many or too few raw entries; the lookup's;
// UNIMPLEMENTED for an input in shared memory where there is no lookup.
absl::StatusOr<TensorList> ReadInputs(const inference::ModelInferRequest& request,
                                      const SharedMemoryLookup& lookup = nullptr);

// The response's outputs, with the same promises; each has a raw entry.
absl::StatusOr<TensorList> ReadOutputs(const inference::ModelInferResponse& response);

// Adds an input, an output, with raw contents; the caller fills the returned string, which lives
// in the message, with ByteSize(datatype, shape) bytes (or BYTES elements). Do not mix with
// typed contents in one message.
std::string& AddRawInput(inference::ModelInferRequest& request, std::string_view name,
                         inference::DataType datatype, std::span<const std::int64_t> shape);
std::string& AddRawOutput(inference::ModelInferResponse& response, std::string_view name,
                          inference::DataType datatype, std::span<const std::int64_t> shape);

}  // namespace inferpool
