#include "worker/vision/model_output.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <string_view>
#include <vector>

#include "shared/base/status.h"
#include "worker/vision/families/unsupported_model.h"

namespace inferpool::vision {
namespace {

constexpr std::string_view kHow =
    "set parameters { key: \"family\" value: { string_value: \"yolov8\" } } in config.pbtxt, or "
    "\"models\": {\"MODEL\": {\"family\": \"yolov8\"}} in inferpool's configuration, to what "
    "family it is (docs/models.md has them)";

// "2 class names and the task pose"
std::string KnownOf(const OutputFacts& facts) {
  return fmt::format("{} class names{}", facts.names,
                     facts.task.empty() ? "" : fmt::format(" and the task {}", facts.task));
}

bool HasOtherTask(const OutputFacts& facts, const FamilyRow& row) {
  return !facts.task.empty() && !row.task.empty() && facts.task != row.task;
}

// The one family that claims the model.
absl::StatusOr<const FamilyRow*> TellFamily(const OutputFacts& facts) {
  std::vector<std::string_view> names;
  const FamilyRow* family = nullptr;
  for (const FamilyRow& row : FamilyTable()) {
    if (row.claims != nullptr && !HasOtherTask(facts, row) && row.claims(facts)) {
      names.push_back(row.name);
      family = &row;
    }
  }
  if (names.size() == 1) {
    return family;
  }
  if (names.empty()) {
    return UnsupportedModel(facts.model, "cannot tell its family from its outputs ({}) with {}; {}",
                            OutputsText(facts.model), KnownOf(facts), kHow);
  }
  return UnsupportedModel(facts.model, "its outputs ({}) with {} could be {}; {}",
                          OutputsText(facts.model), KnownOf(facts), fmt::join(names, " or "), kHow);
}

}  // namespace

absl::StatusOr<const FamilyRow*> ReadOutputs(const ModelDescription& model,
                                             const Parameters& parameters, ModelPlan& plan) {
  const OutputFacts facts = FactsOf(model, plan, parameters.normalized_boxes);
  const FamilyRow* family = parameters.family;
  if (family == nullptr) {
    ASSIGN_OR_RETURN(family, TellFamily(facts));
  } else if (HasOtherTask(facts, *family)) {
    return UnsupportedModel(model, "parameter family is {}, but the model's own task is {}",
                            family->name, facts.task);
  }
  plan.family = family->family;
  if (const absl::Status planned = family->plan(facts, plan); !planned.ok()) {
    return UnsupportedModel(
        model,
        "as family {} it needs the outputs {}, apart from the batch, and has {}: "
        "{}; set the parameter \"family\" in config.pbtxt to what it is",
        family->name, family->outputs, OutputsText(model), Message(planned));
  }
  plan.family_named = parameters.family != nullptr;
  plan.told_by_shape = plan.told_by_shape && !plan.family_named;
  return family;
}

}  // namespace inferpool::vision
