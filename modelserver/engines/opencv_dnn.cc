#include "modelserver/engines/opencv_dnn.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <opencv2/dnn.hpp>

#include "modelserver/engines/fast_layers.h"
#include "modelserver/engines/onnx/external_data.h"
#include "modelserver/engines/onnx/graph.h"
#include "modelserver/engines/onnx/model_file.h"
#include "modelserver/engines/onnx/rewrite.h"
#include "modelserver/engines/opencv_guard.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

// The shape OpenCV made, without the row's leading 1 when the model batches.
Shape BlobRowShape(const cv::Mat& blob, bool batches) {
  Shape shape(blob.size.p, blob.size.p + blob.dims);
  if (batches && !shape.empty()) {
    shape.erase(shape.begin());
  }
  return shape;
}

// The model file as OpenCV is to get it. Every run has the configuration's shapes; a batch is run
// row by row.
absl::StatusOr<onnx::ModelProto> RewrittenModel(const inference::ModelConfig& config,
                                                const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(onnx::ModelProto model, onnx_graph::ReadModelFile(file));
  RETURN_IF_ERROR(onnx_graph::ReadExternalData(file.parent_path(), model));
  onnx_graph::InputShapes shapes;
  for (const inference::ModelInput& input : config.input()) {
    Shape& shape = shapes[input.name()];
    if (config.max_batch_size() > 0) {
      shape.push_back(1);
    }
    shape.insert(shape.end(), input.dims().begin(), input.dims().end());
  }
  std::vector<std::string> outputs;
  for (const inference::ModelOutput& output : config.output()) {
    outputs.push_back(output.name());
  }
  RETURN_IF_ERROR(onnx_graph::RewriteForOpenCv(shapes, outputs, model));
  return model;
}

class DnnEngine : public Engine {
 public:
  DnnEngine(const inference::ModelConfig& config, std::filesystem::path file)
      : config_(config), file_(std::move(file)) {
    for (const inference::ModelOutput& output : config_.output()) {
      output_names_.push_back(output.name());
    }
  }

  // Requests are run one after the other, and their rows too: OpenCV gains nothing from a batch.
  void Run(std::span<Execution> batch) override {
    for (Execution& execution : batch) {
      // A run that fails leaves the net unplanned; the next one plans its memory anew.
      execution.status = GuardOpenCv([&] { return RunRows(execution); });
    }
  }

  absl::Status Import() {
    return GuardOpenCv([&]() -> absl::Status {
      ASSIGN_OR_RETURN(onnx::ModelProto model, RewrittenModel(config_, file_));
      std::string bytes;
      if (!model.SerializeToString(&bytes)) {
        return InvalidArgument("too large for the ONNX format");
      }
      model = {};  // OpenCV is about to make its own copies of the weights
      RegisterFastLayers();
      net_ = cv::dnn::readNetFromONNX(bytes.data(), bytes.size());
      net_.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
      net_.setPreferableTarget(cv::dnn::DNN_TARGET_CPU);
      return absl::OkStatus();
    });
  }

 private:
  bool Batches() const { return config_.max_batch_size() > 0; }

  absl::Status RunRows(Execution& execution) {
    const std::int64_t rows = Batches() ? execution.inputs.front().shape[0] : 1;
    std::vector<std::span<std::byte>> memory(output_names_.size());
    for (std::int64_t row = 0; row < rows; ++row) {
      for (const TensorView& input : execution.inputs) {
        RETURN_IF_ERROR(SetInput(input, row, rows));
      }
      if (row == 0) execution.infer_start = Clock::now();
      std::vector<cv::Mat> blobs;
      net_.forward(blobs, output_names_);
      if (row + 1 == rows) execution.infer_end = Clock::now();
      RETURN_IF_ERROR(PutRow(blobs, row, rows, *execution.outputs, memory));
    }
    return absl::OkStatus();
  }

  absl::Status SetInput(const TensorView& input, std::int64_t row, std::int64_t rows) {
    std::vector<int> sizes;
    for (const std::int64_t size : input.shape) {
      if (size < 1 || size > std::numeric_limits<int>::max()) {
        return InvalidArgument("input '{}': OpenCV takes no dimension of {}", input.name, size);
      }
      sizes.push_back(static_cast<int>(size));
    }
    if (Batches()) {
      sizes[0] = 1;
    }
    const std::size_t row_bytes = input.data.size() / static_cast<std::size_t>(rows);
    const std::byte* data = input.data.data() + static_cast<std::size_t>(row) * row_bytes;
    // cv::Mat has no view of constant data; the network copies it and does not write to it.
    net_.setInput(cv::Mat(sizes, CV_32F, const_cast<std::byte*>(data)), std::string(input.name));
    return absl::OkStatus();
  }

  // Writes a row's outputs; the first row asks for their memory, of all rows.
  absl::Status PutRow(const std::vector<cv::Mat>& blobs, std::int64_t row, std::int64_t rows,
                      Outputs& outputs, std::vector<std::span<std::byte>>& memory) const {
    for (std::size_t i = 0; i < blobs.size(); ++i) {
      const auto index = static_cast<int>(i);
      if (!outputs.Wanted(index)) {
        continue;
      }
      const inference::ModelOutput& output = config_.output(index);
      const cv::Mat blob = blobs[i].isContinuous() ? blobs[i] : blobs[i].clone();
      if (blob.depth() != CV_32F) {
        return absl::InternalError(fmt::format("output '{}' is not FP32", output.name()));
      }
      const std::size_t bytes = blob.total() * blob.elemSize();
      if (row == 0) {
        ASSIGN_OR_RETURN(Shape shape, CheckedShape(output, blob));
        if (Batches()) {
          shape.insert(shape.begin(), rows);
        }
        ASSIGN_OR_RETURN(const std::span<std::byte> added,
                         outputs.Add(index, shape, bytes * static_cast<std::size_t>(rows)));
        memory[i] = added;
      }
      if (memory[i].size() < bytes) {
        return absl::InternalError(
            fmt::format("output '{}' differs in size between rows", output.name()));
      }
      std::memcpy(memory[i].data(), blob.data, bytes);
      memory[i] = memory[i].subspan(bytes);
    }
    return absl::OkStatus();
  }

  // The configured dims when they are all known and have as many elements as `blob` (OpenCV keeps
  // ones where ONNX drops them); else `blob`'s own shape, which must fit.
  absl::StatusOr<Shape> CheckedShape(const inference::ModelOutput& output,
                                     const cv::Mat& blob) const {
    const Shape dims(output.dims().begin(), output.dims().end());
    const Shape actual = BlobRowShape(blob, Batches());
    const absl::StatusOr<std::int64_t> count = ElementCount(dims);
    if (count.ok() && static_cast<std::size_t>(*count) == blob.total()) {
      return dims;
    }
    if (!std::ranges::equal(dims, actual, [](std::int64_t configured, std::int64_t size) {
          return configured == -1 || configured == size;
        })) {
      return absl::InternalError(fmt::format("output '{}' has the shape {}, expected {}",
                                             output.name(), ShapeText(actual), ShapeText(dims)));
    }
    return actual;
  }

  const inference::ModelConfig config_;
  const std::filesystem::path file_;
  std::vector<std::string> output_names_;
  cv::dnn::Net net_;
};

template <typename Tensor>
absl::Status CheckFloat(const google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) {
    if (tensor.data_type() != inference::TYPE_FP32) {
      return InvalidArgument("'{}' is {}, backend opencv_dnn takes FP32", tensor.name(),
                             DatatypeName(tensor.data_type()));
    }
  }
  return absl::OkStatus();
}

absl::Status RunOnZeros(const inference::ModelConfig& config, Engine& engine) {
  std::vector<Shape> shapes;
  std::vector<std::string> zeros;
  for (const inference::ModelInput& input : config.input()) {
    Shape& shape = shapes.emplace_back(input.dims().begin(), input.dims().end());
    if (std::ranges::find(shape, -1) != shape.end()) {
      return absl::OkStatus();
    }
    if (config.max_batch_size() > 0) {
      shape.insert(shape.begin(), 1);
    }
    ASSIGN_OR_RETURN(const std::size_t bytes, ByteSize(inference::TYPE_FP32, shape));
    zeros.emplace_back(bytes, '\0');
  }
  std::vector<TensorView> inputs;
  for (int i = 0; i < config.input_size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    inputs.push_back({.name = config.input(i).name(),
                      .datatype = inference::TYPE_FP32,
                      .shape = shapes[at],
                      .data = std::as_bytes(std::span(zeros[at]))});
  }
  Outputs outputs(config);
  for (int i = 0; i < config.output_size(); ++i) {
    outputs.Want(i);
  }
  Execution zero_run{.inputs = inputs, .outputs = &outputs, .status = {}};
  engine.Run({&zero_run, 1});
  return zero_run.status;
}

// Most networks with open sizes compute them in ways that OpenCV refuses.
std::string_view HintAtOpenSizes(const inference::ModelConfig& config) {
  const bool open = std::ranges::any_of(config.input(), [](const inference::ModelInput& input) {
    return std::ranges::find(input.dims(), -1) != input.dims().end();
  });
  return open
             ? "; the file leaves dimensions of an input open: naming them in config.pbtxt may help"
             : "";
}

}  // namespace

void CompleteOutputDims(const std::filesystem::path& file, inference::ModelConfig& config) {
  const bool open = std::ranges::any_of(config.output(), [](const inference::ModelOutput& output) {
    return std::ranges::find(output.dims(), -1) != output.dims().end();
  });
  if (!open) {
    return;
  }
  const absl::StatusOr<onnx::ModelProto> model = RewrittenModel(config, file);
  if (!model.ok()) {
    return;  // which is for MakeDnnEngine to report
  }
  for (inference::ModelOutput& output : *config.mutable_output()) {
    const auto& outputs = model->graph().output();
    const auto found = std::ranges::find(outputs, output.name(), &onnx::ValueInfoProto::name);
    std::optional<Shape> shape =
        found == outputs.end() ? std::nullopt : onnx_graph::KnownShape(found->type());
    if (!shape.has_value()) {
      continue;
    }
    if (config.max_batch_size() > 0 && !shape->empty()) {
      shape->erase(shape->begin());
    }
    if (std::ranges::equal(output.dims(), *shape, [](std::int64_t configured, std::int64_t size) {
          return configured == -1 || configured == size;
        })) {
      output.mutable_dims()->Assign(shape->begin(), shape->end());
    }
  }
}

absl::StatusOr<std::unique_ptr<Engine>> MakeDnnEngine(const inference::ModelConfig& config,
                                                      const std::filesystem::path& file) {
  RETURN_IF_ERROR(CheckFloat(config.input()));
  RETURN_IF_ERROR(CheckFloat(config.output()));
  auto engine = std::make_unique<DnnEngine>(config, file);
  absl::Status status = engine->Import();
  if (status.ok()) {
    status = RunOnZeros(config, *engine);
  }
  if (!status.ok()) {
    return InvalidArgument("{}: {}{}", file.string(), Message(status), HintAtOpenSizes(config));
  }
  return engine;
}

}  // namespace inferpool::modelserver
