#include "modelserver/engines/onnxruntime.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "modelserver/config/name_list.h"
#include "modelserver/config/request_check.h"
#include "modelserver/config/ultralytics.h"
#include "modelserver/engines/onnx_config.h"
#include "modelserver/onnxruntime/session.h"
#include "modelserver/onnxruntime/value.h"
#include "proto/tensor.h"
#include "shared/base/log.h"
#include "shared/base/mutex.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr std::size_t kSmallTensor = 4096;  // in bytes; such a copy costs nothing
constexpr std::size_t kMaxTrialBytes = std::size_t{256} << 20U;
constexpr std::chrono::seconds kTrialTime{20};
constexpr std::size_t kMaxMetadata = 1000;  // of a value that becomes a parameter, in bytes

bool IsFloat(inference::DataType datatype) {
  return datatype == inference::TYPE_FP16 || datatype == inference::TYPE_BF16 ||
         datatype == inference::TYPE_FP32 || datatype == inference::TYPE_FP64;
}

// Whether the runtime may work in memory that a client can change meanwhile: not where the values
// are indices, or where a kernel of the model decides by them what it reads and writes.
bool IsSafeShared(inference::DataType datatype, std::size_t bytes, bool decides_by_values) {
  return IsFloat(datatype) && bytes > kSmallTensor && !decides_by_values;
}

bool Overlap(std::span<const std::byte> a, std::span<const std::byte> b) {
  const std::less<> before;
  return !a.empty() && !b.empty() && before(a.data(), b.data() + b.size()) &&
         before(b.data(), a.data() + a.size());
}

bool IsAligned(inference::DataType datatype, const std::byte* data) {
  const std::size_t element = ElementSize(datatype);
  return element == 0 || reinterpret_cast<std::uintptr_t>(data) % element == 0;
}

// Memory for copies that one run needs, aligned for every type.
class Copies {
 public:
  explicit Copies(bool decides_by_values) : decides_by_values_(decides_by_values) {}

  std::span<std::byte> Make(std::size_t bytes) {
    memory_.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
    return {memory_.back().get(), bytes};
  }

  // The tensor, in memory that only this run changes and whose address suits its type.
  TensorView Safe(const TensorView& tensor) {
    const bool as_it_is =
        IsAligned(tensor.datatype, tensor.data.data()) &&
        (!tensor.shared || IsSafeShared(tensor.datatype, tensor.data.size(), decides_by_values_));
    if (as_it_is) {
      return tensor;
    }
    const std::span<std::byte> copy = Make(tensor.data.size());
    std::ranges::copy(tensor.data, copy.begin());
    TensorView safe = tensor;
    safe.data = copy;
    safe.shared = false;
    return safe;
  }

 private:
  const bool decides_by_values_;
  std::vector<std::unique_ptr<std::byte[]>> memory_;
};

// A model that is loaded. Its engines share it.
struct OnnxModel {
  inference::ModelConfig config;
  std::unique_ptr<const ort::Session> session;
  bool row_by_row = false;
  // For each output of the configuration: whether its dims are what a trial run showed. They
  // usually hold, but nothing promises it.
  std::vector<bool> shown = {};
  // For each output: whether it is an input too. The runtime then never writes it.
  std::vector<bool> passed_through = {};
  // A kernel of the file decides by values of floating-point tensors what it reads and writes.
  bool decides_by_values = true;
};

class OnnxEngine : public Engine {
 public:
  explicit OnnxEngine(std::shared_ptr<const OnnxModel> model) : model_(std::move(model)) {}

  void Run(std::span<Execution> batch) override {
    const auto fail = [batch](const absl::Status& status) {
      for (Execution& execution : batch) execution.status = status;
    };
    try {
      RunBatch(batch);
    } catch (const std::bad_alloc&) {
      fail(absl::ResourceExhaustedError("there is not enough memory for this request"));
    } catch (const std::exception& error) {
      fail(absl::InternalError(error.what()));
    }
  }

 private:
  void RunBatch(std::span<Execution> batch) const {
    if (model_->row_by_row) {
      for (Execution& execution : batch) execution.status = RunRows(execution);
      return;
    }
    for (Execution& execution : batch) execution.status = absl::OkStatus();
    const absl::Status status = RunTogether(batch);
    if (status.ok()) {
      return;  // one of them may have failed by itself
    }
    for (Execution& execution : batch) execution.status = status;
    if (batch.size() == 1 || absl::IsCancelled(status)) {
      return;
    }
    // One of them is at fault. The others have a right to their answers.
    for (std::size_t i = 0; i < batch.size(); ++i) {
      batch[i].outputs->Clear();
      batch[i].status = absl::OkStatus();
      const absl::Status alone = RunTogether(batch.subspan(i, 1));
      if (!alone.ok()) batch[i].status = alone;
    }
  }

  const inference::ModelConfig& config() const { return model_->config; }
  const ort::Library& library() const { return model_->session->library(); }
  bool Batches() const { return config().max_batch_size() > 0; }
  inference::DataType OutputType(int output) const { return config().output(output).data_type(); }

  // The outputs that a request of the batch wants.
  std::vector<int> Wanted(std::span<const Execution> batch) const {
    std::vector<int> wanted;
    for (int i = 0; i < config().output_size(); ++i) {
      if (std::ranges::any_of(
              batch, [i](const Execution& execution) { return execution.outputs->Wanted(i); })) {
        wanted.push_back(i);
      }
    }
    return wanted;
  }

  absl::Status RunTogether(std::span<Execution> batch) const {
    Copies copies(model_->decides_by_values);
    std::deque<Shape> shapes;
    std::vector<TensorView> inputs;
    std::int64_t rows = 0;
    for (const Execution& execution : batch) rows += Batches() ? RowsOf(execution.inputs) : 1;
    for (std::size_t i = 0; i < batch.front().inputs.size(); ++i) {
      const TensorView& first = batch.front().inputs[i];
      if (!IsThere(first)) {
        continue;
      }
      if (batch.size() == 1) {
        inputs.push_back(copies.Safe(first));
        continue;
      }
      Shape& shape = shapes.emplace_back(first.shape.begin(), first.shape.end());
      shape[0] = rows;
      ASSIGN_OR_RETURN(const TensorView joined, Join(batch, i, shape, copies));
      inputs.push_back(joined);
    }
    const std::vector<int> wanted = Wanted(batch);
    std::vector<ort::Value> outputs(wanted.size());
    if (batch.size() == 1) {
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        RETURN_IF_ERROR(Place(wanted[i], rows, inputs, *batch.front().outputs, outputs[i]));
      }
    }
    const std::vector<bool> placed(Flags(outputs));
    const TimePoint start = Clock::now();
    RETURN_IF_ERROR(RunOnce(inputs, wanted, outputs, batch.front().abandoned));
    const TimePoint end = Clock::now();
    for (Execution& execution : batch) {
      execution.infer_start = start;
      execution.infer_end = end;
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!placed[i]) {
        RETURN_IF_ERROR(HandOut(wanted[i], rows, outputs[i], batch));
      }
    }
    return absl::OkStatus();
  }

  static std::vector<bool> Flags(std::span<const ort::Value> values) {
    std::vector<bool> flags;
    for (const ort::Value& value : values) flags.push_back(static_cast<bool>(value));
    return flags;
  }

  // Input `index` of all requests as one tensor of that shape.
  static absl::StatusOr<TensorView> Join(std::span<const Execution> batch, std::size_t index,
                                         const Shape& shape, Copies& copies) {
    TensorView joined = batch.front().inputs[index];
    joined.shape = shape;
    if (joined.datatype == inference::TYPE_STRING) {
      return JoinStrings(batch, index, joined, copies);
    }
    std::size_t bytes = 0;
    bool side_by_side = true;
    const std::byte* next = joined.data.data();
    for (const Execution& execution : batch) {
      const TensorView& part = execution.inputs[index];
      side_by_side = side_by_side && part.data.data() == next && part.shared == joined.shared;
      bytes += part.data.size();
      next = part.data.data() + part.data.size();
    }
    if (side_by_side) {
      joined.data = {joined.data.data(), bytes};
      return copies.Safe(joined);
    }
    const std::span<std::byte> all = copies.Make(bytes);
    auto at = all.begin();
    for (const Execution& execution : batch) {
      at = std::ranges::copy(execution.inputs[index].data, at).out;
    }
    joined.data = all;
    joined.shared = false;
    return joined;
  }

  // Each request's strings are looked at in a copy and by themselves: a length that its client
  // changed after the first check must not reach into the next request's.
  static absl::StatusOr<TensorView> JoinStrings(std::span<const Execution> batch, std::size_t index,
                                                TensorView joined, Copies& copies) {
    std::size_t bytes = 0;
    for (const Execution& execution : batch) bytes += execution.inputs[index].data.size();
    const std::span<std::byte> all = copies.Make(bytes);
    std::size_t at = 0;
    for (const Execution& execution : batch) {
      const TensorView& part = execution.inputs[index];
      const std::span<std::byte> copy = all.subspan(at, part.data.size());
      std::ranges::copy(part.data, copy.begin());
      ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(part.shape));
      RETURN_IF_ERROR(DecodeBytes(copy, count).status());
      at += copy.size();
    }
    joined.data = all;
    joined.shared = false;
    return joined;
  }

  // Makes the value of an output over the memory where it is wanted, if its size is known and a
  // kernel may work there: not where an input still lies.
  absl::Status Place(int output, std::int64_t rows, std::span<const TensorView> inputs,
                     Outputs& outputs, ort::Value& value) const {
    const inference::ModelOutput& configured = config().output(output);
    Shape shape(configured.dims().begin(), configured.dims().end());
    if (model_->shown[static_cast<std::size_t>(output)] ||
        model_->passed_through[static_cast<std::size_t>(output)] ||
        configured.data_type() == inference::TYPE_STRING || !outputs.Wanted(output) ||
        std::ranges::find(shape, -1) != shape.end()) {
      return absl::OkStatus();
    }
    if (Batches()) {
      shape.insert(shape.begin(), rows);
    }
    ASSIGN_OR_RETURN(const std::size_t bytes, ByteSize(configured.data_type(), shape));
    const std::span<const std::byte> shared = outputs.SharedMemory(output);
    const bool holds_an_input = std::ranges::any_of(
        inputs, [shared](const TensorView& input) { return Overlap(shared, input.data); });
    if (!shared.empty() &&
        (holds_an_input ||
         !IsSafeShared(configured.data_type(), bytes, model_->decides_by_values) ||
         !IsAligned(configured.data_type(), shared.data()))) {
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::span<std::byte> memory, outputs.Add(output, shape, bytes));
    ASSIGN_OR_RETURN(value, ort::Value::Over(library(), configured.data_type(), shape, memory));
    return absl::OkStatus();
  }

  absl::Status RunOnce(std::span<const TensorView> inputs, std::span<const int> wanted,
                       std::span<ort::Value> outputs, const std::stop_token& abandoned) const {
    std::deque<std::string> names;  // a view's name need not end with a zero
    std::vector<ort::Value> values;
    values.reserve(inputs.size());
    std::vector<ort::Session::Named> named;
    for (const TensorView& input : inputs) {
      ASSIGN_OR_RETURN(ort::Value value, MakeValue(input));
      values.push_back(std::move(value));
      named.push_back({names.emplace_back(input.name).c_str(), &values.back()});
    }
    std::vector<const char*> output_names;
    for (const int output : wanted) output_names.push_back(config().output(output).name().c_str());
    return model_->session->Run(named, output_names, outputs, abandoned);
  }

  absl::StatusOr<ort::Value> MakeValue(const TensorView& input) const {
    if (input.datatype != inference::TYPE_STRING) {
      return ort::Value::Over(library(), input.datatype, input.shape, input.data);
    }
    ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(input.shape));
    ASSIGN_OR_RETURN(const std::vector<std::string_view> strings, DecodeBytes(input.data, count));
    return ort::Value::OfStrings(library(), input.shape, strings);
  }

  // An output that the runtime made, checked against the configuration.
  struct Made {
    Shape shape;
    std::span<const std::byte> data;
    std::string strings = {};  // instead of `data`, for TYPE_STRING
  };
  absl::StatusOr<Made> Read(int output, std::int64_t rows, const ort::Value& value) const {
    const inference::ModelOutput& configured = config().output(output);
    ASSIGN_OR_RETURN(ort::Value::Contents contents, value.Read(library()));
    Shape expected(configured.dims().begin(), configured.dims().end());
    if (model_->shown[static_cast<std::size_t>(output)]) {
      std::ranges::fill(expected, -1);
    }
    if (Batches()) {
      expected.insert(expected.begin(), rows);
    }
    // A file that leaves the number of dimensions open has a configuration without any.
    const bool fits =
        (configured.dims().empty() && !Batches()) ||
        std::ranges::equal(contents.shape, expected, [](std::int64_t size, std::int64_t wanted) {
          return wanted == -1 || size == wanted;
        });
    if (contents.datatype != configured.data_type() || !fits) {
      return absl::InternalError(
          fmt::format("output '{}' is {} {}, expected {} {}{}", configured.name(),
                      DatatypeName(contents.datatype), ShapeText(contents.shape),
                      DatatypeName(configured.data_type()), ShapeText(expected),
                      Batches() ? "; if the first dimension is no batch, config.pbtxt has to say "
                                  "max_batch_size: 0 and give all dims"
                                : ""));
    }
    Made made{.shape = std::move(contents.shape), .data = contents.data};
    if (contents.datatype == inference::TYPE_STRING) {
      ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(made.shape));
      RETURN_IF_ERROR(
          value.AppendStrings(library(), static_cast<std::size_t>(count), made.strings));
    }
    return made;
  }

  // Gives each request its rows of an output.
  absl::Status HandOut(int output, std::int64_t rows, const ort::Value& value,
                       std::span<Execution> batch) const {
    ASSIGN_OR_RETURN(const Made made, Read(output, rows, value));
    const bool strings = OutputType(output) == inference::TYPE_STRING;
    std::span<const std::byte> rest = strings ? std::as_bytes(std::span(made.strings)) : made.data;
    if (batch.size() == 1) {
      return batch.front().outputs->Put(output, made.shape, rest);
    }
    ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(made.shape));
    std::vector<std::string_view> elements;
    if (strings) {
      ASSIGN_OR_RETURN(elements, DecodeBytes(rest, count));
    }
    const std::size_t row_bytes = rest.size() / static_cast<std::size_t>(rows);
    const auto row_elements = static_cast<std::size_t>(count / rows);
    std::size_t element = 0;
    for (Execution& execution : batch) {
      Shape shape = made.shape;
      shape[0] = RowsOf(execution.inputs);
      std::size_t bytes = row_bytes * static_cast<std::size_t>(shape[0]);
      if (strings) {
        bytes = 0;
        const std::size_t end = element + row_elements * static_cast<std::size_t>(shape[0]);
        for (; element < end; ++element) bytes += sizeof(std::uint32_t) + elements[element].size();
      }
      // Memory that is too small for it is one request's fault, not the others'.
      const absl::Status put = execution.outputs->Put(output, shape, rest.first(bytes));
      if (!put.ok()) execution.status = put;
      rest = rest.subspan(bytes);
    }
    return absl::OkStatus();
  }

  // Runs each row of a request on its own.
  absl::Status RunRows(Execution& execution) const {
    const std::int64_t rows = RowsOf(execution.inputs);
    Copies copies(model_->decides_by_values);
    std::vector<std::vector<TensorView>> of_rows(static_cast<std::size_t>(rows));
    std::deque<Shape> shapes;
    for (const TensorView& input : execution.inputs) {
      if (!IsThere(input)) {
        continue;
      }
      Shape& shape = shapes.emplace_back(input.shape.begin(), input.shape.end());
      shape[0] = 1;
      const TensorView safe = copies.Safe(input);
      ASSIGN_OR_RETURN(const std::vector<std::span<const std::byte>> parts, Rows(safe, rows));
      for (std::size_t row = 0; row < parts.size(); ++row) {
        TensorView view = safe;
        view.shape = shape;
        view.data = parts[row];
        of_rows[row].push_back(copies.Safe(view));
      }
    }
    const std::vector<int> wanted = Wanted({&execution, 1});
    std::vector<Shape> made_shapes(wanted.size());
    std::vector<std::string> made_rows(wanted.size());
    execution.infer_start = Clock::now();
    for (const std::vector<TensorView>& inputs : of_rows) {
      std::vector<ort::Value> outputs(wanted.size());
      RETURN_IF_ERROR(RunOnce(inputs, wanted, outputs, execution.abandoned));
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        ASSIGN_OR_RETURN(const Made made, Read(wanted[i], 1, outputs[i]));
        if (!made_shapes[i].empty() && made_shapes[i] != made.shape) {
          return absl::InternalError(fmt::format("output '{}' differs in shape between rows",
                                                 config().output(wanted[i]).name()));
        }
        made_shapes[i] = made.shape;
        made_rows[i].append(reinterpret_cast<const char*>(made.data.data()), made.data.size());
        made_rows[i] += made.strings;
      }
    }
    execution.infer_end = Clock::now();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      made_shapes[i][0] = rows;
      RETURN_IF_ERROR(execution.outputs->Put(wanted[i], made_shapes[i],
                                             std::as_bytes(std::span(made_rows[i]))));
    }
    return absl::OkStatus();
  }

  // The data of each row.
  static absl::StatusOr<std::vector<std::span<const std::byte>>> Rows(const TensorView& input,
                                                                      std::int64_t rows) {
    const auto count = static_cast<std::size_t>(rows);
    std::vector<std::span<const std::byte>> parts;
    if (input.datatype != inference::TYPE_STRING) {
      const std::size_t bytes = input.data.size() / count;
      for (std::size_t i = 0; i < count; ++i) parts.push_back(input.data.subspan(i * bytes, bytes));
      return parts;
    }
    ASSIGN_OR_RETURN(const std::int64_t elements, ElementCount(input.shape));
    ASSIGN_OR_RETURN(const std::vector<std::string_view> strings,
                     DecodeBytes(input.data, elements));
    std::size_t start = 0;
    for (std::size_t row = 0; row < count; ++row) {
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < strings.size() / count; ++i) {
        bytes += sizeof(std::uint32_t) + strings[row * (strings.size() / count) + i].size();
      }
      parts.push_back(input.data.subspan(start, bytes));
      start += bytes;
    }
    return parts;
  }

  const std::shared_ptr<const OnnxModel> model_;
};

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
  OnnxEngine(model).Run({&execution, 1});
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

// Runs the model a few times, and notes what that shows. The run's error when it cannot run at all,
// so that it does not take the place of a version that can. A model that takes too long for that,
// or may have failed for our inputs' sake, is served as its file says.
absl::Status TryModel(OnnxModel& model) {
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
  const bool joins = !batches || TryRows(borrowed, 2, true, late).status.ok();
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

// Adds what Ultralytics' exports say of themselves and whoever reads the outputs has to know.
void AddMetadata(const ort::Session& session, inference::ModelConfig& config) {
  const bool nms = SaysNms(session.Metadata("args").value_or(""));
  for (const std::string key : {"task", "head", "end2end", "kpt_shape"}) {
    const std::optional<std::string> value =
        nms && key == "end2end" ? "True" : session.Metadata(key);
    if (value && !value->empty() && value->size() <= kMaxMetadata && IsUtf8(*value) &&
        !config.parameters().contains(key)) {
      (*config.mutable_parameters())[key].set_string_value(*value);
    }
  }
}

OnnxDescription Describe(const ort::Session& session) {
  OnnxDescription file{.inputs = session.inputs(), .outputs = session.outputs()};
  if (const std::optional<std::string> size = session.Metadata("imgsz")) {
    file.picture_size = ParseUltralyticsSize(*size);
  }
  return file;
}

// Sizes that the configuration leaves open and the session, as it was opened, does not.
template <typename Tensor>
void CloseDims(const std::vector<ort::TensorType>& session, bool batch,
               google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  for (Tensor& tensor : tensors) {
    const auto found = std::ranges::find(session, tensor.name(), &ort::TensorType::name);
    const std::size_t before = batch ? 1 : 0;
    if (found == session.end() ||
        found->shape.size() != static_cast<std::size_t>(tensor.dims_size()) + before) {
      continue;
    }
    for (int i = 0; i < tensor.dims_size(); ++i) {
      if (tensor.dims(i) == -1) {
        tensor.set_dims(i, found->shape[static_cast<std::size_t>(i) + before]);
      }
    }
  }
}

// Whether the file has an operator that decides by values of floating-point tensors what it reads
// and writes (sorts, picks, samples), so that values that change meanwhile could lead it astray.
// The names are looked for in the bytes of the file: one that is there by chance costs a copy.
absl::StatusOr<bool> DecidesByValues(const std::filesystem::path& file) {
  constexpr std::array<std::string_view, 14> kNames{
      "TopK",       "Unique",        "NonMaxSuppression", "RoiAlign",     "MaxRoiPool",
      "GridSample", "DeformConv",    "Multinomial",       "NonZero",      "OneHot",
      "Range",      "com.microsoft", "ai.onnx.ml",        "CropAndResize"};
  constexpr std::size_t kBlock = std::size_t{1} << 20U;
  constexpr std::size_t kOverlap = 32;  // longer than a name
  std::ifstream stream(file, std::ios::binary);
  std::string text;
  while (stream) {
    text.erase(0, text.size() < kOverlap ? 0 : text.size() - kOverlap);
    const std::size_t before = text.size();
    text.resize(before + kBlock);
    stream.read(text.data() + before, static_cast<std::streamsize>(kBlock));
    text.resize(before + static_cast<std::size_t>(stream.gcount()));
    if (std::ranges::any_of(kNames, [&text](std::string_view name) {
          return text.find(name) != std::string::npos;
        })) {
      return true;
    }
  }
  if (!stream.eof()) {
    return InvalidArgument("cannot read {}", file.string());
  }
  return false;
}

absl::StatusOr<std::unique_ptr<OnnxModel>> LoadModel(const std::filesystem::path& file,
                                                     ort::SessionSettings settings,
                                                     const inference::ModelConfig& given,
                                                     bool may_batch) {
  ASSIGN_OR_RETURN(std::unique_ptr<const ort::Session> session, ort::Session::Open(file, settings));
  auto model = std::make_unique<OnnxModel>();
  model->config = given;
  OnnxDescription described = Describe(*session);
  RETURN_IF_ERROR(CompleteFromOnnx(described, may_batch, model->config));
  ASSIGN_OR_RETURN(settings.sizes, NamedSizes(described, model->config));
  if (!settings.sizes.empty()) {
    // Loaded again, now that its sizes are known: the runtime optimizes better with them.
    session.reset();
    ASSIGN_OR_RETURN(session, ort::Session::Open(file, settings));
    described = Describe(*session);
    const bool batch = model->config.max_batch_size() > 0;
    model->config = given;
    CloseDims(described.inputs, batch, *model->config.mutable_input());
    CloseDims(described.outputs, batch, *model->config.mutable_output());
    RETURN_IF_ERROR(CompleteFromOnnx(described, may_batch, model->config));
  }
  ASSIGN_OR_RETURN(model->decides_by_values, DecidesByValues(file));
  for (const inference::ModelOutput& output : model->config.output()) {
    model->passed_through.push_back(
        std::ranges::find(described.inputs, output.name(), &ort::TensorType::name) !=
        described.inputs.end());
  }
  model->session = std::move(session);
  model->row_by_row = RunsRowByRow(described, model->config);
  model->shown.resize(static_cast<std::size_t>(model->config.output_size()));
  return model;
}

}  // namespace

absl::StatusOr<LoadedModel> LoadOnnx(const std::filesystem::path& version_folder,
                                     inference::ModelConfig config) {
  if (config.default_model_filename().empty()) {
    config.set_default_model_filename("model.onnx");
  }
  const std::filesystem::path name = config.default_model_filename();
  if (name.filename() != name) {
    return InvalidArgument("default_model_filename is not a plain file name");
  }
  ASSIGN_OR_RETURN(const ort::SessionSettings settings, SettingsOf(config));
  CompleteInstances(settings, std::thread::hardware_concurrency(), config);
  const std::filesystem::path file = version_folder / name;
  ASSIGN_OR_RETURN(std::unique_ptr<OnnxModel> model, LoadModel(file, settings, config, true));
  absl::Status tried = CanTry(model->config) ? TryModel(*model) : absl::OkStatus();
  if (!tried.ok() && config.max_batch_size() == 0 && model->config.max_batch_size() > 0) {
    // What the file leaves open in front is perhaps no batch, but the number of things found.
    ASSIGN_OR_RETURN(model, LoadModel(file, settings, config, false));
    tried = CanTry(model->config) ? TryModel(*model) : absl::OkStatus();
  }
  if (!tried.ok()) {
    return InvalidArgument("{}: {}", file.string(), Message(tried));
  }
  AddMetadata(*model->session, model->config);
  LoadedModel loaded{.config = model->config};
  loaded.class_names = ParseNameList(model->session->Metadata("names").value_or(""));
  loaded.make_engine = [shared = std::shared_ptr<const OnnxModel>(std::move(model))](
                           const inference::ModelConfig& /*config*/) {
    return absl::StatusOr<std::unique_ptr<Engine>>(std::make_unique<OnnxEngine>(shared));
  };
  return loaded;
}

}  // namespace inferpool::modelserver
