// The tensor codec of KServe v2, for both ends of the wire: reads tensors from ModelInferRequest
// and ModelInferResponse and adds tensors to them.
//
// All functions are pure and thread safe. A malformed message gives INVALID_ARGUMENT with a text
// for its sender. The sources are Triton's grpc_service.proto and the pages of its protocol
// extensions.
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

#include "proto/datatype.h"
#include "proto/kserve.pb.h"
#include "shared/base/status.h"

namespace inferpool {

// Appends one BYTES element: its length as a uint32, then its bytes, of which there are less than
// 4 GiB.
void AppendBytesElement(std::string_view element, std::string& raw);

// Returns the `count` elements of a BYTES tensor as views into `raw`. INVALID_ARGUMENT when the
// elements' lengths do not fill `raw` exactly.
absl::StatusOr<std::vector<std::string_view>> DecodeBytes(std::span<const std::byte> raw,
                                                          std::int64_t count);

// The tensors of one message, in its order. The views point into the message, which must outlive
// the list and not change, or into memory of the list's own, aligned to 8 bytes:
// typed contents of BYTES and of 8 and 16 bits, which it has to rewrite.
class TensorList {
 public:
  TensorList() = default;
  // A list of tensors that somebody else owns. Each has the size that its datatype and shape take,
  // and no two have the same name.
  explicit TensorList(std::vector<TensorView> tensors) : tensors_(std::move(tensors)) {}
  TensorList(TensorList&&) = default;
  TensorList& operator=(TensorList&&) = default;

  const std::vector<TensorView>& tensors() const { return tensors_; }

  // The tensor of that name, which lives as long as the list; null when there is none.
  const TensorView* Find(std::string_view name) const;

 private:
  friend class TensorListBuilder;

  std::vector<TensorView> tensors_;
  std::deque<std::string> rewritten_;  // elements never move
};

// Trailing metadata that our model server adds to a ModelInfer's error. It says that the server has
// ended its work on the request. The error's code alone does not say so, because gRPC's own errors
// have the same codes.
inline constexpr const char* kAnsweredMark = "inferpool-answered";

// Where a tensor in shared memory lies, as the tensor's parameters shared_memory_region,
// shared_memory_byte_size and shared_memory_offset (0 when absent) say.
struct SharedMemoryReference {
  std::string region;
  std::uint64_t offset = 0;
  std::uint64_t byte_size = 0;
};

using TensorParameters = google::protobuf::Map<std::string, inference::InferParameter>;

// Reads where a tensor with these parameters lies; nullopt when it is not in shared memory.
// INVALID_ARGUMENT when a parameter has another type, or the byte size is missing.
absl::StatusOr<std::optional<SharedMemoryReference>> ReadSharedMemory(
    const TensorParameters& parameters);

// Finds the memory that a reference stands for. It must outlive the list that is read with it.
using SharedMemoryLookup =
    std::function<absl::StatusOr<std::span<const std::byte>>(const SharedMemoryReference&)>;

// Reads the request's inputs and does not copy raw contents. In the returned list each name is
// there once, each datatype is known, no dimension is negative, and the data has the size that
// datatype and shape take. The raw entries belong, in their order, to the inputs that are not in
// shared memory.
//
// INVALID_ARGUMENT for a request that does not allow these promises, for typed contents together
// with raw contents or in another datatype's list, and for too many or too few raw entries.
// UNIMPLEMENTED for an input in shared memory when there is no lookup. The lookup's errors.
absl::StatusOr<TensorList> ReadInputs(const inference::ModelInferRequest& request,
                                      const SharedMemoryLookup& lookup = nullptr);

// Reads the response's outputs with the same promises and errors. None of them may be in shared
// memory.
absl::StatusOr<TensorList> ReadOutputs(const inference::ModelInferResponse& response);

// Adds an input, or an output, with raw contents. The caller fills the returned string, which lives
// in the message, with ByteSize(datatype, shape) bytes, or with BYTES elements. A message must not
// have both raw and typed contents.
std::string& AddRawInput(inference::ModelInferRequest& request, std::string_view name,
                         inference::DataType datatype, std::span<const std::int64_t> shape);
std::string& AddRawOutput(inference::ModelInferResponse& response, std::string_view name,
                          inference::DataType datatype, std::span<const std::int64_t> shape);

}  // namespace inferpool
