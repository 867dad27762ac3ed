#include "modelserver/engines/onnx_trial.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proto/tensor.h"
#include "shared/base/log.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr std::size_t kMaxTrialBytes = std::size_t{256} << 20U;
constexpr std::chrono::seconds kTrialTime{20};

// What a trial run with so many rows showed.
struct Trial {
  absl::Status status;
  std::vector<Shape> shapes = {};  // of the outputs
};

// Whether a trial can be made: the inputs' sizes are known, and any numbers will do.
bool CanTry(const inference::ModelConfig& config) {
  std::size_t bytes = 0;
  for (const inference::ModelInput& input : config.input()) {
    const auto size = ByteSize(input.data_type(),
                               {input.dims().data(), static_cast<std::size_t>(input.dims_size())});
    if (!(IsFloat(input.data_type()) || input.data_type() == inference::TYPE_UINT8) ||
        input.optional() || !size.ok() || *size > kMaxTrialBytes) {
      return false;
    }
    bytes += 2 * *size;
  }
  return bytes <= kMaxTrialBytes;
}

// Runs the model on zeros, or on noise: small numbers of any floating-point type.
Trial TryRows(const std::shared_ptr<const OnnxModel>& model, std::int64_t rows, bool noise,
              const std::stop_token& time_is_up) {
  const inference::ModelConfig& config = model->config;
  std::deque<Shape> shapes;
  std::deque<std::string> data;
  std::vector<TensorView> inputs;
  for (const inference::ModelInput& input : config.input()) {
    Shape& shape = shapes.emplace_back(input.dims().begin(), input.dims().end());
    if (config.max_batch_size() > 0) {
      shape.insert(shape.begin(), rows);
    }
    std::string& bytes = data.emplace_back(ByteSize(input.data_type(), shape).value(), '\0');
    const std::size_t element = ElementSize(input.data_type());
    for (std::size_t i = 0; noise && i < bytes.size(); ++i) {
      // The high byte of a number from about 0 to 1, and any lower ones.
      const bool high = i % element == element - 1;
      bytes[i] = static_cast<char>(high && element > 1 ? 0x3a + i / element % 4
                                                       : (i * 2654435761U) >> 24U & 0x7fU);
    }
    inputs.push_back({.name = input.name(),
                      .datatype = input.data_type(),
                      .shape = shape,
                      .data = std::as_bytes(std::span(bytes))});
  }
  Outputs outputs(config);
  for (int i = 0; i < config.output_size(); ++i) outputs.Want(i);
  Execution execution{.inputs = inputs, .outputs = &outputs, .status = {}, .abandoned = time_is_up};
  MakeOnnxEngine(model)->Run({&execution, 1});
  Trial trial{.status = execution.status};
  for (const Outputs::Output& output : outputs.wanted()) trial.shapes.push_back(output.shape);
  return trial;
}

// Fills the sizes that the configuration leaves open with those that the trials showed, where they
// agree. A size of 0 depends on what was found in the input.
void LearnSizes(const std::vector<Trial>& trials, OnnxModel& model) {
  const std::size_t skipped = model.config.max_batch_size() > 0 ? 1 : 0;
  for (int i = 0; i < model.config.output_size(); ++i) {
    inference::ModelOutput& output = *model.config.mutable_output(i);
    const auto at = static_cast<std::size_t>(i);
    for (int dim = 0; dim < output.dims_size(); ++dim) {
      const std::size_t axis = static_cast<std::size_t>(dim) + skipped;
      std::set<std::int64_t> sizes;
      for (const Trial& trial : trials) {
        sizes.insert(axis < trial.shapes[at].size() ? trial.shapes[at][axis] : 0);
      }
      if (output.dims(dim) == -1 && sizes.size() == 1 && *sizes.begin() > 0) {
        output.set_dims(dim, *sizes.begin());
        model.shown[at] = true;
      }
    }
  }
}

// Stops a source after some time, unless it ends before.
class Alarm {
 public:
  explicit Alarm(Clock::duration time)
      : thread_([this, time](const std::stop_token& ended) {
          Mutex mutex;
          std::condition_variable_any wake;
          MutexLock lock(mutex);
          if (!wake.wait_for(lock.native(), ended, time, [&] { return ended.stop_requested(); })) {
            rings_.request_stop();
          }
        }) {}

  std::stop_token rings() const { return rings_.get_token(); }

 private:
  std::stop_source rings_;
  std::jthread thread_;  // last: it uses the other
};

// Whether the model's inputs are all data, such as pictures. Others may be numbers that it computes
// with, such as sizes or indices, and invented ones can make any model fail.
bool TakesDataAlone(const inference::ModelConfig& config) {
  const int rank = config.max_batch_size() > 0 ? 2 : 3;
  return std::ranges::all_of(config.input(), [rank](const inference::ModelInput& input) {
    return IsFloat(input.data_type()) && input.dims_size() >= rank;
  });
}

}  // namespace

absl::Status TryModel(OnnxModel& model) {
  if (!CanTry(model.config)) {
    return absl::OkStatus();
  }
  // The trials share what they run with their engines, but only until they end.
  const auto borrowed = std::shared_ptr<const OnnxModel>(std::shared_ptr<void>(), &model);
  const Alarm alarm(kTrialTime);
  const std::stop_token late = alarm.rings();
  std::vector<Trial> trials;
  absl::Status failed;
  for (const bool noise : {false, true}) {
    Trial trial = TryRows(borrowed, 1, noise, late);
    if (trial.status.ok()) {
      trials.push_back(std::move(trial));
    } else {
      failed = trial.status;
    }
  }
  const bool batches = model.config.max_batch_size() > 1 && !model.row_by_row;
  const bool joins = !batches || trials.empty() || late.stop_requested() ||
                     TryRows(borrowed, 2, true, late).status.ok();
  if (late.stop_requested()) {
    log::Info("a trial run of the model takes too long", {{"model", model.config.name()}});
    return absl::OkStatus();
  }
  if (trials.empty() && TakesDataAlone(model.config)) {
    return failed;
  }
  if (trials.empty()) {
    log::Info("a trial run of the model failed, perhaps because of the trial's inputs",
              {{"model", model.config.name()}, {"reason", Message(failed)}});
    return absl::OkStatus();
  }
  if (!joins) {
    model.row_by_row = true;
    log::Info("the rows of a batch run one by one, because the model cannot run two at once",
              {{"model", model.config.name()}});
  }
  LearnSizes(trials, model);
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver
