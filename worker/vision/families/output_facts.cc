#include "worker/vision/families/output_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

#include "shared/base/ascii.h"

namespace inferpool::vision {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

Shape WithoutBatch(const TensorSpec& output, const ModelDescription& model, bool has_batch) {
  Shape row = output.shape;
  const bool starts_with_batch =
      !row.empty() &&
      (model.max_batch_size > 0 || (has_batch && (row.front() == 1 || row.front() == kAny)));
  if (starts_with_batch) {
    row.erase(row.begin());
  }
  return row;
}

std::string Parameter(const ModelDescription& model, const std::string& key) {
  const auto found = model.parameters.find(key);
  return found == model.parameters.end()
             ? ""
             : LowerCase(Trim(std::string_view(found->second), kBlanks));
}

std::string TaskOf(const ModelDescription& model) {
  constexpr std::array<std::string_view, 5> kTasks{"detect", "segment", "pose", "obb", "classify"};
  std::string task = Parameter(model, "task");
  return std::find(kTasks.begin(), kTasks.end(), task) == kTasks.end() ? "" : task;
}

bool IsEndToEnd(const ModelDescription& model) {
  const std::string text = Parameter(model, "end2end");
  return text == "true" || text == "1";
}

// "[17, 3]" or "(17, 3)".
std::optional<KeypointShape> KeypointsOf(const ModelDescription& model) {
  constexpr std::size_t kMaxKeypoints = 1000;
  std::string text = Parameter(model, "kpt_shape");
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < '0' || c > '9'; }, ' ');
  std::vector<std::size_t> numbers;
  for (std::string_view rest = Trim(std::string_view(text), kBlanks); !rest.empty();) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc()) {
      return std::nullopt;
    }
    numbers.push_back(number);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    rest = Trim(rest, kBlanks);
  }
  const bool good = numbers.size() == 2 && numbers[0] >= 1 && numbers[0] <= kMaxKeypoints &&
                    (numbers[1] == 2 || numbers[1] == 3);
  return good ? std::optional(KeypointShape{numbers[0], numbers[1]}) : std::nullopt;
}

std::int64_t Cells(cv::Size input, std::span<const int> strides) {
  std::int64_t cells = 0;
  for (const int stride : strides) {
    const auto along = [stride](int side) { return std::int64_t{side + stride - 1} / stride; };
    cells += along(input.width) * along(input.height);
  }
  return cells;
}

}  // namespace

const OutputFact* OutputFacts::Find(std::string_view name) const {
  const auto found = std::find_if(outputs.begin(), outputs.end(), [&](const OutputFact& output) {
    return output.spec->name == name;
  });
  return found == outputs.end() ? nullptr : &*found;
}

std::vector<const OutputFact*> OutputFacts::OfRank(std::size_t rank) const {
  std::vector<const OutputFact*> found;
  for (const OutputFact& output : outputs) {
    if (output.is_float && output.row.size() == rank) {
      found.push_back(&output);
    }
  }
  return found;
}

const OutputFact* OutputFacts::Table() const {
  const auto tables = OfRank(2);
  return tables.size() == 1 ? tables.front() : nullptr;
}

const OutputFact* OutputFacts::Vector() const {
  const OutputFact* vector = nullptr;
  for (const OutputFact& output : outputs) {
    const auto& row = output.row;
    // [2048, 1, 1] is a vector, too.
    const bool is_vector =
        output.is_float && !row.empty() &&
        std::all_of(row.begin() + 1, row.end(), [](std::int64_t length) { return length == 1; });
    if (is_vector && vector != nullptr) {
      return nullptr;
    }
    vector = is_vector ? &output : vector;
  }
  return vector;
}

OutputFacts FactsOf(const ModelDescription& model, const ModelPlan& plan,
                    std::optional<bool> normalized_boxes) {
  OutputFacts facts{.model = model,
                    .outputs = {},
                    .names = static_cast<std::int64_t>(model.class_names.size()),
                    .input = plan.input.size,
                    .task = TaskOf(model),
                    .head = Parameter(model, "head"),
                    .end2end = IsEndToEnd(model),
                    .keypoints = KeypointsOf(model),
                    .normalized_boxes = normalized_boxes};
  for (const TensorSpec& output : model.outputs) {
    facts.outputs.push_back({.spec = &output,
                             .row = WithoutBatch(output, model, plan.has_batch_dimension),
                             .is_float = output.datatype == "FP32" || output.datatype == "FP16"});
  }
  return facts;
}

std::optional<Shape> RowOfRank(const OutputFacts& facts, const OutputFact& output,
                               std::size_t rank) {
  Shape row = output.row;
  if (row.size() < rank && facts.model.max_batch_size <= 0) {
    row = output.spec->shape;
  }
  while (row.size() > rank && row.front() == 1) {
    row.erase(row.begin());
  }
  while (rank == 1 && row.size() > rank && row.back() == 1) {
    row.pop_back();
  }
  return row.size() == rank ? std::optional(std::move(row)) : std::nullopt;
}

bool FitsGrids(std::int64_t anchors, cv::Size input, int per_cell) {
  if (input.empty()) {
    return false;
  }
  constexpr std::array kUsual{8, 16, 32};
  constexpr std::array kFine{4, 8, 16, 32};
  constexpr std::array kCoarse{8, 16, 32, 64};
  constexpr std::array kTiny{16, 32};
  for (const std::span<const int> strides :
       {std::span<const int>(kUsual), std::span<const int>(kFine), std::span<const int>(kCoarse),
        std::span<const int>(kTiny)}) {
    if (anchors == per_cell * Cells(input, strides)) {
      return true;
    }
  }
  return false;
}

std::string OutputsText(const ModelDescription& model) {
  std::string text;
  for (const TensorSpec& output : model.outputs) {
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", output.name, output.datatype,
                        Text(output.shape));
  }
  return text;
}

}  // namespace inferpool::vision
