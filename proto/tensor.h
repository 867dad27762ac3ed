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

// Appends one BYTES element: its length as uint32, then itself. `element` is under 4 GiB.
void AppendBytesElement(std::string_view element, std::string& raw);

// The `count` elements of a BYTES tensor, as views into `raw`. Error: lengths that do not fill
// `raw` exactly.
absl::StatusOr<std::vector<std::string_view>> DecodeBytes(std::span<const std::byte> raw,
                                                          std::int64_t count);

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
