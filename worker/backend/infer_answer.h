// A ModelInferResponse whose tensors are wherever they came to lie: in the message, in what gRPC
// received, or in a row of an arena.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/kserve.pb.h"
#include "proto/tensor.h"
#include "shared/base/status.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// Where the server was told to write an output.
struct OutputPlace {
  std::string name;
  std::shared_ptr<const Lease> lease;
  std::size_t offset = 0;  // in the lease; a multiple of 8
  std::size_t bytes = 0;
};

// Immutable, thread safe. Its views live as long as it does.
class InferAnswer {
 public:
  // The answer of a plain call, with the promises and errors of ReadOutputs (proto/tensor.h).
  static absl::StatusOr<InferAnswer> FromMessage(inference::ModelInferResponse message);

  // `raw` has the raw contents, aligned to 8 bytes and kept alive by `storage`; `message` has none.
  // An output of `places` is the place's memory, unless the server sent it as raw contents all the
  // same; servers add either an empty raw entry for such an output (Triton) or none. As many checks
  // and the same errors as FromMessage; INVALID_ARGUMENT also for an output that does not fit its
  // place, BYTES there, and an output in shared memory that nobody asked for.
  static absl::StatusOr<InferAnswer> Make(inference::ModelInferResponse message,
                                          std::span<const std::span<const std::byte>> raw,
                                          std::vector<OutputPlace> places,
                                          std::shared_ptr<const void> storage);

  const inference::ModelInferResponse& message() const { return *message_; }
  const std::vector<TensorView>& tensors() const { return tensors_; }
  // Null when there is none of that name.
  const TensorView* Find(std::string_view name) const;

 private:
  std::unique_ptr<const inference::ModelInferResponse> message_;
  TensorList list_;  // holds what FromMessage had to rewrite
  std::vector<TensorView> tensors_;
  std::vector<OutputPlace> places_;
  std::shared_ptr<const void> storage_;
};

// What belongs to row `row` of the `rows` that were sent in one request. INVALID_ARGUMENT: the
// tensor has another first dimension, or is of BYTES, whose rows have no fixed size.
absl::StatusOr<std::span<const std::byte>> RowOf(const TensorView& tensor, int rows, int row);

}  // namespace inferpool::backend
