#include "modelserver/repository/ensemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {
namespace {

// The threads that all requests' steps have besides those that serve the requests. Without one more
// a step waits for the one before it.
constexpr int kMaxHelpers = 1024;
std::atomic<int> helpers_in_use = 0;
// Steps that are over sooner than a thread begins are no faster side by side, and cost more.
constexpr std::chrono::microseconds kWorthHelp{100};

// Runs one request through the steps. A step is ready when its inputs are made; when several are,
// helpers take those that the calling thread does not, if there is help.
class EnsembleRun {
 public:
  EnsembleRun(const inference::ModelConfig& config, const EnsemblePlan& plan, const FindModel& find,
              std::span<const TensorView> inputs, Outputs& outputs, bool may_have_help)
      : config_(config),
        plan_(plan),
        find_(find),
        outputs_(outputs),
        needed_(Needed()),
        inputs_(inputs.size()),
        tensors_(inputs.begin(), inputs.end()),
        made_(plan.tensors, nullptr) {
    if (!may_have_help) may_have_help_ = false;
    tensors_.resize(plan.tensors);
  }

  absl::Status Run(const InferContext& context) {
    {
      const MutexLock lock(mutex_);
      for (const EnsemblePlan::Step& step : plan_.steps) {
        if (std::ranges::any_of(step.outputs, [this](const EnsemblePlan::Wire& wire) {
              return needed_[wire.tensor];
            })) {
          unready_.push_back(&step);
        }
      }
      MoveReady();
      ++idle_;
    }
    Work(context);
    // All steps have ended; the helpers are about to.
    std::vector<std::thread> helpers;
    {
      const MutexLock lock(mutex_);
      helpers.swap(helpers_);
    }
    for (std::thread& helper : helpers) helper.join();
    helpers_in_use -= static_cast<int>(helpers.size());
    const MutexLock lock(mutex_);
    RETURN_IF_ERROR(status_);
    return HandOver();
  }

  // How long a step took on average; nothing when none has run.
  std::optional<Clock::duration> MeanStep() {
    const MutexLock lock(mutex_);
    if (steps_.empty()) return std::nullopt;
    return step_time_ / static_cast<Clock::rep>(steps_.size());
  }

 private:
  // A step that runs.
  struct StepRun {
    Model& model;
    std::vector<TensorView> inputs;
    Outputs& outputs;
    std::vector<std::size_t> wanted;  // for each of the outputs the ensemble's tensor
  };

  // Runs steps until all have ended, or one has failed and those that ran have ended. The caller
  // has counted this thread as idle.
  void Work(const InferContext& context) {
    MutexLock lock(mutex_);
    while (true) {
      while (running_ > 0 && (ready_.empty() || !status_.ok())) changed_.wait(lock.native());
      --idle_;
      if (ready_.empty() || !status_.ok()) break;
      const EnsemblePlan::Step& step = *ready_.front();
      ready_.pop_front();
      ++running_;
      while (ready_.size() > idle_ && StartHelper(context)) {
      }
      absl::Status status = CheckAwaited(context);
      if (status.ok()) {
        absl::StatusOr<StepRun> run = Begin(step);
        status = run.status();
        if (status.ok()) {
          lock.Unlock();
          const TimePoint start = Clock::now();
          status = run->model.Infer(TensorList(std::move(run->inputs)), run->outputs, context);
          const TimePoint end = Clock::now();
          lock.Lock();
          step_time_ += end - start;
        }
        if (status.ok()) status = End(*run);
        if (!status.ok()) {
          status =
              absl::Status(status.code(), fmt::format("in ensemble '{}', model '{}': {}",
                                                      config_.name(), step.model, Message(status)));
        }
      }
      --running_;
      if (status.ok()) {
        MoveReady();
      } else if (status_.ok()) {
        status_ = std::move(status);
      }
      ++idle_;
      changed_.notify_all();
    }
  }

  // Moves the steps whose inputs are made to the ready ones, in their order.
  void MoveReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::erase_if(unready_,
                  [this](const EnsemblePlan::Step* step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                    for (const EnsemblePlan::Wire& wire : step->inputs) {
                      if (wire.tensor >= inputs_ && made_[wire.tensor] == nullptr) return false;
                    }
                    ready_.push_back(step);
                    return true;
                  });
  }

  // False when there is to be no more help.
  bool StartHelper(const InferContext& context) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // The calling thread is the request's own as long as there is no helper.
    if (!may_have_help_) may_have_help_ = !context.can_block || context.can_block();
    if (!*may_have_help_) return false;
    if (++helpers_in_use > kMaxHelpers) {
      --helpers_in_use;
      return false;
    }
    // Its own: this thread may be a helper that ends before it.
    InferContext of_helper = context;
    of_helper.can_block = {};
    try {
      helpers_.emplace_back([this, of_helper = std::move(of_helper)] { Work(of_helper); });
    } catch (const std::system_error&) {
      --helpers_in_use;
      return false;
    }
    ++idle_;  // until it begins
    return true;
  }

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

  static absl::Status CheckAwaited(const InferContext& context) {
    if (context.deadline.Expired(Clock::now())) {
      return absl::DeadlineExceededError("the deadline was over between an ensemble's steps");
    }
    if (context.gone.stop_requested()) {
      return absl::CancelledError("the caller went away between an ensemble's steps");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<StepRun> Begin(const EnsemblePlan::Step& step)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
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
      if (!needed_[wire.tensor]) {
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
    return StepRun{model, std::move(inputs), outputs, std::move(wanted)};
  }

  // Makes its outputs the inputs of others.
  absl::Status End(const StepRun& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (std::size_t i = 0; i < run.wanted.size(); ++i) {
      Outputs::Output& output = run.outputs.wanted()[i];
      RETURN_IF_ERROR(CheckSize(run.outputs.View(output)));
      made_[run.wanted[i]] = &output;
      tensors_[run.wanted[i]] = run.outputs.View(output);
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
  absl::Status HandOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
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
  const std::vector<bool> needed_;  // which tensors are
  const std::size_t inputs_;        // the first tensors, which are there from the start

  Mutex mutex_;
  std::condition_variable changed_;
  std::vector<const EnsemblePlan::Step*> unready_ ABSL_GUARDED_BY(mutex_);
  std::deque<const EnsemblePlan::Step*> ready_ ABSL_GUARDED_BY(mutex_);
  std::size_t running_ ABSL_GUARDED_BY(mutex_) = 0;  // steps
  std::size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;     // threads that will look for a step
  absl::Status status_ ABSL_GUARDED_BY(mutex_);      // of the first step that failed
  std::optional<bool> may_have_help_ ABSL_GUARDED_BY(mutex_);
  Clock::duration step_time_ ABSL_GUARDED_BY(mutex_){};  // of all steps
  std::vector<std::thread> helpers_ ABSL_GUARDED_BY(mutex_);
  // These outlive their outputs.
  std::vector<std::shared_ptr<Model>> models_ ABSL_GUARDED_BY(mutex_);
  std::deque<Outputs> steps_ ABSL_GUARDED_BY(mutex_);  // elements never move
  // The ensemble's, as far as they are there.
  std::vector<TensorView> tensors_ ABSL_GUARDED_BY(mutex_);
  // The steps' outputs; null for the request's inputs.
  std::vector<Outputs::Output*> made_ ABSL_GUARDED_BY(mutex_);
};

class EnsembleExecutor : public ModelExecutor {
 public:
  EnsembleExecutor(inference::ModelConfig config, EnsemblePlan plan, FindModel find)
      : config_(std::move(config)), plan_(std::move(plan)), find_(std::move(find)) {}

  absl::Status Run(std::span<const TensorView> inputs, Outputs& outputs,
                   const InferContext& context, RunTimes& times) override {
    const TimePoint start = Clock::now();
    EnsembleRun run(config_, plan_, find_, inputs, outputs, are_worth_help_);
    absl::Status status = run.Run(context);
    if (const auto step = run.MeanStep()) are_worth_help_ = *step >= kWorthHelp;
    times.compute_infer = Clock::now() - start;
    return status;
  }

 private:
  const inference::ModelConfig config_;
  const EnsemblePlan plan_;
  const FindModel find_;
  std::atomic<bool> are_worth_help_ = true;  // the steps, by the latest request
};

}  // namespace

std::unique_ptr<ModelExecutor> MakeEnsembleExecutor(inference::ModelConfig config,
                                                    EnsemblePlan plan, FindModel find) {
  return std::make_unique<EnsembleExecutor>(std::move(config), std::move(plan), std::move(find));
}

}  // namespace inferpool::modelserver
