// Decoders of outputs that are one vector: scores of classes, or an embedding.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <span>

#include "proto/datatype.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// Reads [classes] and returns the options.top_k most probable of options.classes. plan.scores says
// what the values are: kProbabilities, each of its own or all together; kLogits, which go through
// softmax (a sole one through the sigmoid); kMultiLabelLogits, which each go through the sigmoid.
// kAuto takes values within 0..1 that add up to 1, give or take 0.01 (FP16 rounds), for
// probabilities, and values of which one lies outside of 0..1 for logits.
//
// INTERNAL: the output is not such a tensor, or a value is not finite. FAILED_PRECONDITION: the
// values are not what plan.scores says, or kAuto cannot tell: they are within 0..1 and do not add
// up to 1, or there is only one that is no probability, or they look like percent
// (within 0..100, and one is above 30 or they add up to 100), or they are no probabilities and
// nothing but the shape tells that it is a classification (plan.told_by_shape).
absl::StatusOr<Classification> Classify(const ModelPlan& plan, std::span<const TensorView> outputs,
                                        const Options& options);

// Reads [dimensions]. INTERNAL: the output is not such a tensor, or a value is not finite.
absl::StatusOr<Embedding> Embed(const ModelPlan& plan, std::span<const TensorView> outputs);

// For the family table.
bool ClaimsClassification(const OutputFacts& facts);
bool ClaimsEmbedding(const OutputFacts& facts);
absl::Status PlanClassification(const OutputFacts& facts, ModelPlan& plan);
absl::Status PlanEmbedding(const OutputFacts& facts, ModelPlan& plan);
absl::StatusOr<Result> ReadClassification(const ModelPlan& plan,
                                          std::span<const TensorView> outputs,
                                          const Placement& placement, const Options& options);
absl::StatusOr<Result> ReadEmbedding(const ModelPlan& plan, std::span<const TensorView> outputs,
                                     const Placement& placement, const Options& options);

}  // namespace inferpool::vision
