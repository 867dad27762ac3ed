#include "modelserver/engines/onnx_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "modelserver/config/request_check.h"
#include "modelserver/onnxruntime/value.h"
#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr std::size_t kSmallTensor = 4096;  // in bytes; such a copy costs nothing

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
      return absl::InternalError(fmt::format(
          "output '{}' is {} {}, expected {} {}{}", configured.name(),
          DatatypeName(contents.datatype), ShapeText(contents.shape),
          DatatypeName(configured.data_type()), ShapeText(expected),
          Batches() ? "; if the first dimension is not the batch, set max_batch_size: 0 "
                      "and all dims in config.pbtxt"
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

}  // namespace

bool IsFloat(inference::DataType datatype) {
  return datatype == inference::TYPE_FP16 || datatype == inference::TYPE_BF16 ||
         datatype == inference::TYPE_FP32 || datatype == inference::TYPE_FP64;
}

std::unique_ptr<Engine> MakeOnnxEngine(std::shared_ptr<const OnnxModel> model) {
  return std::make_unique<OnnxEngine>(std::move(model));
}

}  // namespace inferpool::modelserver
