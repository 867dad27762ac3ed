#include "modelserver/config/ensemble_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "modelserver/config/request_check.h"
#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

constexpr int kMaxSteps = 64;

// What the ensemble's and the models' configurations say about a tensor of the ensemble.
struct Tensor {
  std::size_t index = 0;
  bool made = false;  // an input of the ensemble, or an output of a step
  bool typed = false;
  inference::DataType datatype = inference::TYPE_INVALID;
  std::vector<std::int64_t> shape;
};

bool ShapesAgree(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  return std::ranges::equal(a, b, [](std::int64_t left, std::int64_t right) {
    return left == right || left == -1 || right == -1;
  });
}

class Planner {
 public:
  Planner(const inference::ModelConfig& config, const ConfigOf& config_of)
      : config_(config), config_of_(config_of) {}

  absl::StatusOr<EnsemblePlan> Plan() {
    const auto& steps = config_.ensemble_scheduling().step();
    if (steps.empty() || steps.size() > kMaxSteps) {
      return InvalidArgument("an ensemble has 1 to {} steps, this one {}", kMaxSteps, steps.size());
    }
    for (const inference::ModelInput& input : config_.input()) {
      Tensor& tensor = Named(input.name());
      tensor.made = true;
      RETURN_IF_ERROR(Agree(input.name(), tensor, config_, input));
    }
    for (const inference::ModelOutput& output : config_.output()) {
      Tensor& tensor = Named(output.name());
      if (tensor.made) {
        return InvalidArgument("'{}' is an input and an output of the ensemble", output.name());
      }
      RETURN_IF_ERROR(Agree(output.name(), tensor, config_, output));
      plan_.outputs.push_back(tensor.index);
    }
    for (const inference::ModelEnsembling::Step& step : steps) {
      if (const absl::Status status = AddStep(step); !status.ok()) {
        return InvalidArgument("the step of model '{}': {}", step.model_name(), Message(status));
      }
    }
    plan_.tensors = tensors_.size();
    RETURN_IF_ERROR(CheckMade());
    RETURN_IF_ERROR(Sort());
    return std::move(plan_);
  }

 private:
  Tensor& Named(const std::string& name) {
    const auto [found, added] = tensors_.try_emplace(name);
    if (added) {
      found->second.index = tensors_.size() - 1;
      plan_.read.push_back(false);
    }
    return found->second;
  }

  // Checks that `described`, a tensor in `config`, agrees with what is known of the tensor.
  template <typename Described>
  static absl::Status Agree(const std::string& name, Tensor& tensor,
                            const inference::ModelConfig& config, const Described& described) {
    std::vector<std::int64_t> shape = WireShape(config, described.dims());
    if (!tensor.typed) {
      tensor.typed = true;
      tensor.datatype = described.data_type();
      tensor.shape = std::move(shape);
      return absl::OkStatus();
    }
    if (tensor.datatype != described.data_type() || !ShapesAgree(tensor.shape, shape)) {
      return InvalidArgument("tensor '{}' is {} {} at one end and {} {} at the other", name,
                             DatatypeName(tensor.datatype), ShapeText(tensor.shape),
                             DatatypeName(described.data_type()), ShapeText(shape));
    }
    return absl::OkStatus();
  }

  absl::Status AddStep(const inference::ModelEnsembling::Step& step) {
    if (step.model_name() == config_.name()) {
      return InvalidArgument("an ensemble cannot be its own step");
    }
    if (step.model_version() < -1) {
      return InvalidArgument("model_version is {}, allowed is -1 for the latest, or a version",
                             step.model_version());
    }
    EnsemblePlan::Step planned{
        .model = step.model_name(), .version = StepVersion(step), .inputs = {}, .outputs = {}};
    const inference::ModelConfig* model = config_of_(planned.model, planned.version);
    if (model == nullptr) {
      return InvalidArgument("it is not ready");
    }
    if (config_.max_batch_size() > model->max_batch_size()) {
      return InvalidArgument("its max_batch_size is {}, the ensemble's {}", model->max_batch_size(),
                             config_.max_batch_size());
    }
    RETURN_IF_ERROR(AddInputs(step, *model, planned));
    RETURN_IF_ERROR(AddOutputs(step, *model, planned));
    plan_.steps.push_back(std::move(planned));
    return absl::OkStatus();
  }

  absl::Status AddInputs(const inference::ModelEnsembling::Step& step,
                         const inference::ModelConfig& model, EnsemblePlan::Step& planned) {
    for (const inference::ModelInput& input : model.input()) {
      const auto mapped = step.input_map().find(input.name());
      if (mapped == step.input_map().end()) {
        return InvalidArgument("input_map lacks its input '{}'", input.name());
      }
      Tensor& tensor = Named(mapped->second);
      plan_.read[tensor.index] = true;
      RETURN_IF_ERROR(Agree(mapped->second, tensor, model, input));
      planned.inputs.push_back({input.name(), tensor.index});
    }
    for (const auto& [name, tensor] : step.input_map()) {
      if (std::ranges::find(model.input(), name, &inference::ModelInput::name) ==
          model.input().end()) {
        return InvalidArgument("input_map names '{}', which is not one of its inputs", name);
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddOutputs(const inference::ModelEnsembling::Step& step,
                          const inference::ModelConfig& model, EnsemblePlan::Step& planned) {
    if (step.output_map().empty()) {
      return InvalidArgument("output_map is empty");
    }
    for (const auto& [name, tensor_name] : step.output_map()) {
      const auto output = std::ranges::find(model.output(), name, &inference::ModelOutput::name);
      if (output == model.output().end()) {
        return InvalidArgument("output_map names '{}', which is not one of its outputs", name);
      }
      Tensor& tensor = Named(tensor_name);
      if (std::exchange(tensor.made, true)) {
        return InvalidArgument("tensor '{}' is made twice", tensor_name);
      }
      RETURN_IF_ERROR(Agree(tensor_name, tensor, model, *output));
      planned.outputs.push_back({name, tensor.index});
    }
    return absl::OkStatus();
  }

  absl::Status CheckMade() const {
    for (const auto& [name, tensor] : tensors_) {
      if (!tensor.made) {
        return InvalidArgument("no step makes the tensor '{}'", name);
      }
    }
    return absl::OkStatus();
  }

  // Puts the steps in order: the next one is always the first whose inputs have been made.
  absl::Status Sort() {
    std::vector<bool> there(plan_.tensors, false);
    for (const inference::ModelInput& input : config_.input()) {
      there[tensors_.at(input.name()).index] = true;
    }
    std::vector<EnsemblePlan::Step> unsorted = std::exchange(plan_.steps, {});
    while (!unsorted.empty()) {
      const auto next = std::ranges::find_if(unsorted, [&there](const EnsemblePlan::Step& step) {
        return std::ranges::all_of(
            step.inputs, [&there](const EnsemblePlan::Wire& wire) { return there[wire.tensor]; });
      });
      if (next == unsorted.end()) {
        return InvalidArgument("a cycle: the step of model '{}' waits for its own outputs",
                               unsorted.front().model);
      }
      for (const EnsemblePlan::Wire& wire : next->outputs) {
        there[wire.tensor] = true;
      }
      plan_.steps.push_back(std::move(*next));
      unsorted.erase(next);
    }
    return absl::OkStatus();
  }

  const inference::ModelConfig& config_;
  const ConfigOf& config_of_;
  std::map<std::string, Tensor> tensors_;
  EnsemblePlan plan_;
};

}  // namespace

std::string StepVersion(const inference::ModelEnsembling::Step& step) {
  return step.model_version() > 0 ? std::to_string(step.model_version()) : std::string();
}

absl::StatusOr<EnsemblePlan> PlanEnsemble(const inference::ModelConfig& config,
                                          const ConfigOf& config_of) {
  return Planner(config, config_of).Plan();
}

}  // namespace inferpool::modelserver
