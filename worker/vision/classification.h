// Models that answer with one vector: scores of classes, or an embedding.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <span>

#include "proto/datatype.h"
#include "worker/vision/family.h"
#include "worker/vision/postprocess.h"

namespace inferpool::vision {

// [classes]: the `top_k` most probable. Logits go through softmax first: always or never as
// plan.scores has it, otherwise unless all values are in 0..1 and add up to 1, give or take 0.01
// (FP16 rounds). INTERNAL: not such a tensor.
absl::StatusOr<Classification> Classify(const Plan& plan, std::span<const TensorView> outputs,
                                        std::size_t top_k);

// [dimensions]. INTERNAL: not such a tensor, or a value is not finite.
absl::StatusOr<Embedding> Embed(const Plan& plan, std::span<const TensorView> outputs);

}  // namespace inferpool::vision
