// The table of families: one row for each meaning that a model's outputs can have.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <span>
#include <string_view>

#include "proto/datatype.h"
#include "worker/vision/families/output_facts.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/result.h"

namespace inferpool::vision {

// A new family is a value of `Family`, a row here, and what its row points to.
struct FamilyRow {
  Family family;
  std::string_view name;     // the value of the parameter `family`
  std::string_view task;     // the metadata's `task` that is this; empty: any
  std::string_view outputs;  // which outputs it needs, for people
  // What holds for its input unless a parameter says otherwise.
  Resize resize = Resize::kLetterbox;
  double scale = 1.0 / 255;
  bool rgb = true;
  // Whether a model that does not name its family is of this one without a doubt. Null: a model has
  // to name it. Where several rows claim a model, it has to name its family, too.
  bool (*claims)(const OutputFacts& facts) = nullptr;
  // Fills what the plan needs besides the input: outputs, classes and the family's own members. An
  // error's text says what does not fit, such as "output0 [1, 3] is no table of boxes".
  absl::Status (*plan)(const OutputFacts& facts, ModelPlan& plan) = nullptr;
  // Reads the outputs as Postprocess (worker/vision/postprocess.h) promises. Thread safe.
  absl::StatusOr<Result> (*read)(const ModelPlan& plan, std::span<const TensorView> outputs,
                                 const Placement& placement, const Options& options) = nullptr;
};

std::span<const FamilyRow> FamilyTable();

// The row of `family`.
const FamilyRow& RowOf(Family family);

// The row of that name; null when there is none.
const FamilyRow* FindFamily(std::string_view name);

// Returns the value of the parameter `family` for it.
std::string_view Name(Family family);

}  // namespace inferpool::vision
