// Decoders of outputs that are one vector: scores of classes, or an embedding.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <span>

#include "proto/datatype.h"
#include "worker/vision/model_plan.h"
#include "worker/vision/postprocess.h"

namespace inferpool::vision {

// Reads [classes] and returns the `top_k` most probable. Logits go through softmax first.
// plan.scores says whether the values are logits; kAuto takes them for logits unless all are in
// 0..1 and they add up to 1, give or take 0.01 (FP16 rounds). INTERNAL: the output is not such a
// tensor.
absl::StatusOr<Classification> Classify(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        std::size_t top_k);

// Reads [dimensions]. INTERNAL: the output is not such a tensor, or a value is not finite.
absl::StatusOr<Embedding> Embed(const ModelPlan& plan, std::span<const TensorView> outputs);

}  // namespace inferpool::vision
