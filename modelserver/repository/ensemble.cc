#include "modelserver/repository/ensemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

// Runs one request through the steps.
class EnsembleRun {
 public:
  EnsembleRun(const inference::ModelConfig& config, const EnsemblePlan& plan, const FindModel& find,
              std::span<const TensorView> inputs, Outputs& outputs)
      : config_(config),
        plan_(plan),
        find_(find),
        outputs_(outputs),
        tensors_(inputs.begin(), inputs.end()),
        made_(plan.tensors, nullptr) {
    tensors_.resize(plan.tensors);
  }

  absl::Status Run(const InferContext& context) {
    const std::vector<bool> needed = Needed();
    for (const EnsemblePlan::Step& step : plan_.steps) {
      if (std::ranges::none_of(step.outputs, [&needed](const EnsemblePlan::Wire& wire) {
            return needed[wire.tensor];
          })) {
        continue;
      }
      if (context.deadline.Expired(Clock::now())) {
        return absl::DeadlineExceededError("the deadline was over between an ensemble's steps");
      }
      if (context.gone.stop_requested()) {
        return absl::CancelledError("the caller went away between an ensemble's steps");
      }
      if (const absl::Status status = RunStep(step, needed, context); !status.ok()) {
        return absl::Status(status.code(),
                            fmt::format("in ensemble '{}', model '{}': {}", config_.name(),
                                        step.model, Message(status)));
      }
    }
    return HandOver();
  }

 private:
  // The tensors from which the wanted outputs are made.
  std::vector<bool> Needed() const {
    std::vector<bool> needed(plan_.tensors, false);
    for (const Outputs::Output& output : outputs_.wanted()) {
      needed[plan_.outputs[static_cast<std::size_t>(output.index)]] = true;
    }
    for (auto step = plan_.steps.rbegin(); step != plan_.steps.rend(); ++step) {
      if (std::ranges::any_of(step->outputs, [&needed](const EnsemblePlan::Wire& wire) {
            return needed[wire.tensor];
          })) {
        for (const EnsemblePlan::Wire& wire : step->inputs) {
          needed[wire.tensor] = true;
        }
      }
    }
    return needed;
  }

  // Where the request wants `tensor` in shared memory and no step reads it, which the client could
  // change while the step reads it; null otherwise.
  Outputs::Output* Destination(std::size_t tensor) const {
    if (plan_.read[tensor]) {
      return nullptr;
    }
    for (Outputs::Output& output : outputs_.wanted()) {
      if (output.in_shared && plan_.outputs[static_cast<std::size_t>(output.index)] == tensor) {
        return &output;
      }
    }
    return nullptr;
  }

  absl::Status RunStep(const EnsemblePlan::Step& step, const std::vector<bool>& needed,
                       const InferContext& context) {
    absl::StatusOr<std::shared_ptr<Model>> found = find_(step.model, step.version);
    if (!found.ok()) {
      return absl::UnavailableError(std::string(Message(found.status())));
    }
    Model& model = **found;
    models_.push_back(*std::move(found));

    std::vector<TensorView> inputs;
    inputs.reserve(step.inputs.size());
    for (const EnsemblePlan::Wire& wire : step.inputs) {
      inputs.push_back(tensors_[wire.tensor]);
      inputs.back().name = wire.name;
    }
    Outputs& outputs = steps_.emplace_back(model.config());
    std::vector<std::size_t> wanted;
    for (const EnsemblePlan::Wire& wire : step.outputs) {
      if (!needed[wire.tensor]) {
        continue;
      }
      const auto output =
          std::ranges::find(model.config().output(), wire.name, &inference::ModelOutput::name);
      if (output == model.config().output().end()) {
        return absl::InternalError(fmt::format("it no longer has the output '{}'", wire.name));
      }
      const auto index = static_cast<int>(output - model.config().output().begin());
      if (const Outputs::Output* destination = Destination(wire.tensor)) {
        outputs.WantShared(index, destination->shared);
      } else {
        outputs.Want(index);
      }
      wanted.push_back(wire.tensor);
    }
    RETURN_IF_ERROR(model.Infer(TensorList(std::move(inputs)), outputs, context));
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      Outputs::Output& output = outputs.wanted()[i];
      RETURN_IF_ERROR(CheckSize(outputs.View(output)));
      made_[wanted[i]] = &output;
      tensors_[wanted[i]] = outputs.View(output);
    }
    return absl::OkStatus();
  }

  // Checks a step's output, because the next engine relies on its size.
  static absl::Status CheckSize(const TensorView& tensor) {
    if (tensor.datatype == inference::TYPE_STRING) {
      return absl::OkStatus();
    }
    const absl::StatusOr<std::size_t> bytes = ByteSize(tensor.datatype, tensor.shape);
    if (!bytes.ok() || *bytes != tensor.data.size()) {
      return absl::InternalError(fmt::format("its output '{}' has {} bytes for the shape {}",
                                             tensor.name, tensor.data.size(),
                                             ShapeText(tensor.shape)));
    }
    return absl::OkStatus();
  }

  // Moves the wanted outputs to the request. No step reads them any more, so memory moves.
  absl::Status HandOver() {
    for (Outputs::Output& output : outputs_.wanted()) {
      const std::size_t tensor = plan_.outputs[static_cast<std::size_t>(output.index)];
      const inference::ModelOutput& configured = config_.output(output.index);
      const TensorView& view = tensors_[tensor];
      if (made_[tensor] == nullptr || view.datatype != configured.data_type()) {
        return absl::InternalError(fmt::format("ensemble '{}' got {} for its output '{}'",
                                               config_.name(), DatatypeName(view.datatype),
                                               configured.name()));
      }
      Outputs::Output& made = *made_[tensor];
      if (output.in_shared && !made.in_shared) {
        RETURN_IF_ERROR(outputs_.Put(output.index, view.shape, view.data));
        continue;
      }
      output.added = true;
      output.shape = std::move(made.shape);
      output.own = std::move(made.own);
      output.bytes = made.bytes;
    }
    return absl::OkStatus();
  }

  const inference::ModelConfig& config_;
  const EnsemblePlan& plan_;
  const FindModel& find_;
  Outputs& outputs_;
  std::vector<std::shared_ptr<Model>> models_;  // outlive their outputs
  std::deque<Outputs> steps_;                   // elements never move
  std::vector<TensorView> tensors_;             // the ensemble's, as far as they are made
  std::vector<Outputs::Output*> made_;          // the steps' outputs; null for the request's inputs
};

class EnsembleExecutor : public ModelExecutor {
 public:
  EnsembleExecutor(inference::ModelConfig config, EnsemblePlan plan, FindModel find)
      : config_(std::move(config)), plan_(std::move(plan)), find_(std::move(find)) {}

  absl::Status Run(std::span<const TensorView> inputs, Outputs& outputs,
                   const InferContext& context, RunTimes& times) override {
    const TimePoint start = Clock::now();
    absl::Status status = EnsembleRun(config_, plan_, find_, inputs, outputs).Run(context);
    times.compute_infer = Clock::now() - start;
    return status;
  }

 private:
  const inference::ModelConfig config_;
  const EnsemblePlan plan_;
  const FindModel find_;
};

}  // namespace

std::unique_ptr<ModelExecutor> MakeEnsembleExecutor(inference::ModelConfig config,
                                                    EnsemblePlan plan, FindModel find) {
  return std::make_unique<EnsembleExecutor>(std::move(config), std::move(plan), std::move(find));
}

}  // namespace inferpool::modelserver
