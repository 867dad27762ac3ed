// Exports as torch.onnx.export makes them of YOLOv8 and YOLO11, against PyTorch's own answers. The
// files, and what is in them, are described in tests/data/onnx/make_yolo.py, which made them.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "modelserver/config/config_file.h"
#include "modelserver/repository/model.h"
#include "tests/unit/modelserver/engines/onnx_net.h"
#include "tests/unit/modelserver/repository/folder.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver {
namespace {

constexpr std::int64_t kRows = 4;
constexpr std::int64_t kSide = 64;
constexpr std::size_t kRowNumbers = std::size_t{3} * kSide * kSide;
constexpr std::size_t kRowAnswers = std::size_t{7} * 84;

std::filesystem::path DataFolder() {
  return std::filesystem::path(INFERPOOL_SOURCE_DIR) / "tests/data/onnx";
}

std::vector<float> Pictures() {
  std::vector<float> numbers(kRows * kRowNumbers);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto hash = static_cast<std::uint32_t>(i * 2654435761U);
    numbers[i] = static_cast<float>(hash >> 8) / static_cast<float>(1 << 24);
  }
  return numbers;
}

std::vector<float> PyTorchAnswers(const std::string& family) {
  std::ifstream stream(DataFolder() / (family + ".bin"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  std::vector<float> answers(bytes.size() / sizeof(float));
  std::memcpy(answers.data(), bytes.data(), bytes.size());
  return answers;
}

absl::StatusOr<std::unique_ptr<Model>> Load(const std::string& file, const std::string& config) {
  const Folder folder;
  folder.Write("yolo/config.pbtxt", config);
  std::filesystem::create_directory(folder.path() / "yolo/1");
  std::filesystem::copy(DataFolder() / file, folder.path() / "yolo/1/model.onnx");
  const auto read = ReadConfigFile(folder.path() / "yolo/config.pbtxt", "yolo");
  RETURN_IF_ERROR(read.status());
  return Model::Load(folder.path() / "yolo", 1, *read);
}

// The file with what Ultralytics' exporter adds to it.
std::string WithMetadata(const std::string& file, const std::string& size) {
  std::ifstream stream(DataFolder() / file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, std::string>>{
           {"description", "Ultralytics YOLO model trained on shapes.yaml"},
           {"author", "Ultralytics"},
           {"stride", "32"},
           {"task", "detect"},
           {"batch", "1"},
           {"imgsz", size},
           {"names", "{0: 'circle', 1: 'square', 2: 'star'}"},
           {"args", "{'batch': 1, 'half': False, 'dynamic': True, 'simplify': True}"}}) {
    bytes += OnnxMetadata(key, value);
  }
  return bytes;
}

absl::StatusOr<OutputTensor> InferPictures(Model& model, std::int64_t rows) {
  const std::vector<float> pictures = Pictures();
  const auto numbers = std::span(pictures).first(static_cast<std::size_t>(rows) * kRowNumbers);
  const std::vector<std::int64_t> shape = {rows, 3, kSide, kSide};
  inference::ModelInferRequest request;
  AddRawInput(request, "images", inference::TYPE_FP32, shape)
      .assign(reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes());
  auto outputs = Infer(model, request);
  RETURN_IF_ERROR(outputs.status());
  return std::move(outputs->front());
}

void ExpectPyTorchAnswers(const OutputTensor& output, const std::string& family,
                          std::int64_t rows) {
  EXPECT_EQ(output.shape, (std::vector<std::int64_t>{rows, 7, 84}));
  const std::vector<float> expected = PyTorchAnswers(family);
  ASSERT_EQ(expected.size(), kRows * kRowAnswers);
  const auto count = static_cast<std::size_t>(rows) * kRowAnswers;
  ASSERT_EQ(output.data.size(), count * sizeof(float));
  std::vector<float> actual(count);
  std::memcpy(actual.data(), output.data.data(), output.data.size());
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_NEAR(actual[i], expected[i], 1e-3 + 1e-3 * std::abs(expected[i])) << "number " << i;
  }
}

struct Export {
  std::string family;
  std::string kind;
  std::string config = {};  // what the file leaves open
};

std::string OpenSizes() {
  return R"(input { name: "images" data_type: TYPE_FP32 dims: [ 3, 64, 64 ] })";
}

class YoloExports : public testing::TestWithParam<Export> {};

TEST_P(YoloExports, AnswerAsPyTorchDoesForEveryBatchSize) {
  const Export& wanted = GetParam();
  auto model = Load(wanted.family + "_" + wanted.kind + ".onnx", wanted.config);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto& dims = (*model)->config().output(0).dims();
  EXPECT_EQ(std::vector<std::int64_t>(dims.begin(), dims.end()),
            (std::vector<std::int64_t>{7, 84}));
  for (const std::int64_t rows : {1, 2, 3, 4, 1}) {
    const absl::StatusOr<OutputTensor> output = InferPictures(**model, rows);
    ASSERT_TRUE(output.ok()) << output.status();
    ExpectPyTorchAnswers(*output, wanted.family, rows);
  }
}

INSTANTIATE_TEST_SUITE_P(All, YoloExports,
                         testing::Values(Export{"yolov8", "fixed_11", "max_batch_size: 4"},
                                         Export{"yolov8", "batch_12"}, Export{"yolov8", "batch_17"},
                                         Export{"yolov8", "all_12", OpenSizes()},
                                         Export{"yolov8", "all_17", OpenSizes()},
                                         Export{"yolo11", "fixed_17", "max_batch_size: 4"},
                                         Export{"yolo11", "batch_11"}, Export{"yolo11", "batch_17"},
                                         Export{"yolo11", "all_17", OpenSizes()}),
                         [](const testing::TestParamInfo<Export>& each) {
                           return each.param.family + "_" + each.param.kind;
                         });

class DynamicExports : public testing::TestWithParam<std::string> {};

TEST_P(DynamicExports, AreServedAtTheSizeThatTheirMetadataNames) {
  const Folder folder;
  const std::string file = GetParam() + ".onnx";
  const auto load = [&](const std::string& size, const std::string& config) {
    folder.Write("yolo/1/model.onnx", WithMetadata(file, size));
    folder.Write("yolo/config.pbtxt", config);
    const auto read = ReadConfigFile(folder.path() / "yolo/config.pbtxt", "yolo");
    return Model::Load(folder.path() / "yolo", 1, *read);
  };
  const std::string family = GetParam().substr(0, GetParam().find('_'));
  for (const char* config : {"", "max_batch_size: 4", "input { name: 'images' }"}) {
    const auto model = load("[64, 64]", config);
    ASSERT_TRUE(model.ok()) << config << model.status();
    EXPECT_EQ(*FindParameter((*model)->config(), "class_names"), "circle\nsquare\nstar");
    for (const std::int64_t rows : {1, 3}) {
      const absl::StatusOr<OutputTensor> output = InferPictures(**model, rows);
      ASSERT_TRUE(output.ok()) << output.status();
      ExpectPyTorchAnswers(*output, family, rows);
    }
  }
  // The configuration has the last word.
  const auto model = load("[640, 640]", OpenSizes());
  ASSERT_TRUE(model.ok()) << model.status();
  ExpectPyTorchAnswers(*InferPictures(**model, 1), family, 1);
}

INSTANTIATE_TEST_SUITE_P(All, DynamicExports,
                         testing::Values("yolov8_all_12", "yolov8_all_17", "yolo11_all_17"),
                         [](const testing::TestParamInfo<std::string>& each) {
                           return each.param;
                         });

}  // namespace
}  // namespace inferpool::modelserver
