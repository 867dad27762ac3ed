// What an ONNX model costs in our engine: as OpenCV runs it alone, and with each step that
// modelserver/engines/onnx adds; with threads of OpenCV's, and with instances instead.
//
//     tests/data/onnx/make_yolo.py bench FOLDER
//     INFERPOOL_BENCH_MODELS=FOLDER build/bench/bin/onnx_bench
//
// Compare the CPU column where one thread works, the time column where several do.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <opencv2/dnn.hpp>
#include <string>
#include <thread>
#include <vector>

#include "modelserver/engines/fast_layers.h"
#include "modelserver/engines/onnx/model_file.h"
#include "modelserver/engines/onnx/rewrite.h"
#include "modelserver/engines/onnx/silu.h"
#include "modelserver/engines/opencv_dnn.h"

namespace inferpool::modelserver {
namespace {

constexpr int kSide = 640;

std::filesystem::path File(const std::string& name) {
  const char* folder = std::getenv("INFERPOOL_BENCH_MODELS");
  return std::filesystem::path(folder == nullptr ? "." : folder) / (name + ".onnx");
}

onnx::ModelProto Rewritten(const std::string& name) {
  auto model = onnx_graph::ReadModelFile(File(name));
  const std::vector<std::string> outputs = {"output0"};
  if (!model.ok() ||
      !onnx_graph::RewriteForOpenCv({{"images", {1, 3, kSide, kSide}}}, outputs, *model).ok()) {
    return {};
  }
  return *std::move(model);
}

enum class Activation { kOurs, kSwish, kTwoLayers };

// Our SiLU and sigmoid as something that OpenCV itself has.
void Replace(Activation activation, onnx::GraphProto& graph) {
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
  for (const onnx::NodeProto& node : graph.node()) {
    onnx::NodeProto& copy = *nodes.Add() = node;
    if (node.op_type() == onnx_graph::kSigmoidLayer) {
      copy.set_op_type("Sigmoid");
    } else if (node.op_type() == onnx_graph::kSiluLayer && activation == Activation::kSwish) {
      copy.set_op_type("Swish");
    } else if (node.op_type() == onnx_graph::kSiluLayer) {
      copy.set_op_type("Sigmoid");
      copy.set_output(0, node.output(0) + "_sigmoid");
      onnx::NodeProto& product = *nodes.Add();
      product.set_op_type("Mul");
      product.add_input(node.input(0));
      product.add_input(copy.output(0));
      product.add_output(node.output(0));
    }
  }
  graph.mutable_node()->Swap(&nodes);
}

struct Setting {
  std::string model;
  Activation activation = Activation::kOurs;
  bool fusion = true;
  int threads = 1;
  int rows = 1;
};

// OpenCV's network, `rows` in one run.
void Network(benchmark::State& state, const Setting& setting) {
  onnx::ModelProto model = Rewritten(setting.model);
  if (setting.activation != Activation::kOurs) {
    Replace(setting.activation, *model.mutable_graph());
  }
  const std::string bytes = model.SerializeAsString();
  if (bytes.empty()) {
    state.SkipWithError("no such model: see the head of bench/onnx_bench.cc");
    return;
  }
  RegisterFastLayers();
  cv::setNumThreads(setting.threads);
  cv::dnn::Net net = cv::dnn::readNetFromONNX(bytes.data(), bytes.size());
  net.enableFusion(setting.fusion);
  const std::vector<int> sizes = {setting.rows, 3, kSide, kSide};
  cv::Mat input(sizes, CV_32F);
  cv::randu(input, 0, 1);
  for (auto _ : state) {
    net.setInput(input);
    benchmark::DoNotOptimize(net.forward());
  }
  state.SetItemsProcessed(state.iterations() * setting.rows);
}

// `instances` engines at once, each in a thread, a row each.
void Engines(benchmark::State& state, const std::string& name, int instances, int threads) {
  inference::ModelConfig config;
  config.set_max_batch_size(1);
  auto& input = *config.add_input();
  input.set_name("images");
  input.set_data_type(inference::TYPE_FP32);
  for (const int size : {3, kSide, kSide}) input.add_dims(size);
  auto& output = *config.add_output();
  output.set_name("output0");
  output.set_data_type(inference::TYPE_FP32);
  for (const int size : {-1, -1}) output.add_dims(size);
  cv::setNumThreads(threads);
  std::vector<std::unique_ptr<Engine>> engines;
  for (int i = 0; i < instances; ++i) {
    auto engine = MakeDnnEngine(config, File(name));
    if (!engine.ok()) {
      state.SkipWithError("no such model: see the head of bench/onnx_bench.cc");
      return;
    }
    engines.push_back(*std::move(engine));
  }
  const std::vector<float> numbers(std::size_t{3} * kSide * kSide, 0.5F);
  const std::vector<std::int64_t> shape = {1, 3, kSide, kSide};
  const TensorView view{.name = "images",
                        .datatype = inference::TYPE_FP32,
                        .shape = shape,
                        .data = std::as_bytes(std::span(numbers))};
  for (auto _ : state) {
    std::vector<std::jthread> callers;
    for (const auto& engine : engines) {
      callers.emplace_back([&] {
        Outputs outputs(config);
        outputs.Want(0);
        Execution run{.inputs = {&view, 1}, .outputs = &outputs, .status = {}};
        engine->Run({&run, 1});
        benchmark::DoNotOptimize(run);
      });
    }
  }
  state.SetItemsProcessed(state.iterations() * instances);
}

void Load(benchmark::State& state, const std::string& name) {
  for (auto _ : state) benchmark::DoNotOptimize(Rewritten(name));
}

void Register() {
  const auto add = [](const std::string& name, auto function, auto... arguments) {
    benchmark::RegisterBenchmark(name.c_str(), function, arguments...)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime()
        ->MeasureProcessCPUTime();
  };
  for (const std::string model : {"yolov8n", "yolo11n"}) {
    add(model + "/two_layers", Network, Setting{model, Activation::kTwoLayers});
    add(model + "/two_layers_unfused", Network, Setting{model, Activation::kTwoLayers, false});
    add(model + "/swish", Network, Setting{model, Activation::kSwish});
    add(model + "/ours", Network, Setting{model});
    add(model + "/ours_unfused", Network, Setting{model, Activation::kOurs, false});
    add(model + "/ours_2_threads", Network, Setting{model, Activation::kOurs, true, 2});
    add(model + "/1_instance_1_thread", Engines, model, 1, 1);
    add(model + "/1_instance_2_threads", Engines, model, 1, 2);
    add(model + "/2_instances_1_thread", Engines, model, 2, 1);
    add(model + "/rewriting_alone", Load, model);
  }
}

}  // namespace
}  // namespace inferpool::modelserver

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  inferpool::modelserver::Register();
  benchmark::RunSpecifiedBenchmarks();
}
