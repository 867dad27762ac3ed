// What our engine adds to ONNX Runtime: the same model on the same numbers, through the engine, and
// by the runtime's own function alone, in one process.
//
//     tests/data/onnx/make_yolo.py bench FOLDER
//     INFERPOOL_BENCH_MODELS=FOLDER build/bench/bin/onnx_bench
//
// Without the variable it runs the sample model `shapes`. A name is MODEL/WAY/BATCH/THREADS/RUNS:
// rows of a run, threads of a run, runs at once. Compare the time of `engine` and `engine_joined`
// (as many requests as rows, which are joined into one run) with that of `runtime`.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "modelserver/config/config_check.h"
#include "modelserver/engines/onnxruntime.h"
#include "modelserver/onnxruntime/session.h"
#include "modelserver/onnxruntime/value.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

struct Setting {
  std::string model;
  std::filesystem::path folder;  // of the file model.onnx
  std::int64_t rows = 1;
  int threads = 1;
  int runs = 1;
};

// A model, its numbers, and where its output goes.
struct Loaded {
  inference::ModelConfig config;
  std::vector<std::unique_ptr<Engine>> engines;
  Shape input_shape;
  Shape output_shape;
  std::vector<float> input;
};

Shape WithRows(std::int64_t rows, const google::protobuf::RepeatedField<std::int64_t>& dims) {
  Shape shape(dims.begin(), dims.end());
  shape.insert(shape.begin(), rows);
  return shape;
}

std::size_t Count(const Shape& shape) {
  return static_cast<std::size_t>(ElementCount(shape).value_or(0));
}

absl::StatusOr<Loaded> Load(const Setting& setting) {
  inference::ModelConfig config;
  config.set_name(setting.model);
  config.set_max_batch_size(8);
  (*config.mutable_parameters())["intra_op_thread_count"].set_string_value(
      std::to_string(setting.threads));
  ASSIGN_OR_RETURN(const LoadedModel model, LoadOnnx(setting.folder, config));
  RETURN_IF_ERROR(CheckConfig(model.config));
  Loaded loaded{.config = model.config,
                .engines = {},
                .input_shape = WithRows(setting.rows, model.config.input(0).dims()),
                .output_shape = WithRows(setting.rows, model.config.output(0).dims()),
                .input = {}};
  loaded.input.assign(Count(loaded.input_shape), 0.5F);
  for (int i = 0; i < setting.runs; ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, model.make_engine(model.config));
    loaded.engines.push_back(std::move(engine));
  }
  return loaded;
}

// Calls `run(i)` for each of the runs at once, until the benchmark has enough.
template <typename Run>
void Measure(benchmark::State& state, const Setting& setting, Run run) {
  for (auto _ : state) {
    std::vector<std::jthread> others;
    for (int i = 1; i < setting.runs; ++i) others.emplace_back([&run, i] { run(i); });
    run(0);
  }
  state.SetItemsProcessed(state.iterations() * setting.rows * setting.runs);
}

// One request with all rows, or a request for each row.
void Engines(benchmark::State& state, const Setting& setting, bool joined) {
  absl::StatusOr<Loaded> loaded = Load(setting);
  if (!loaded.ok()) {
    state.SkipWithError(loaded.status().ToString().c_str());
    return;
  }
  const std::int64_t requests = joined ? setting.rows : 1;
  const Shape shape = WithRows(joined ? 1 : setting.rows, loaded->config.input(0).dims());
  // Not side by side: a number between them.
  std::vector<std::vector<float>> inputs;
  for (std::int64_t i = 0; i < requests; ++i) inputs.emplace_back(Count(shape), 0.5F);
  const auto memory = std::make_unique<std::vector<std::vector<float>>>(
      static_cast<std::size_t>(setting.runs), std::vector<float>(Count(loaded->output_shape)));
  Measure(state, setting, [&](int run) {
    std::vector<TensorView> views;
    std::vector<Outputs> outputs;
    std::vector<Execution> batch;
    auto& place = (*memory)[static_cast<std::size_t>(run)];
    const std::size_t part = place.size() / static_cast<std::size_t>(requests);
    views.reserve(inputs.size());
    outputs.reserve(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      views.push_back({.name = loaded->config.input(0).name(),
                       .datatype = inference::TYPE_FP32,
                       .shape = shape,
                       .data = std::as_bytes(std::span(inputs[i])),
                       .shared = true});
      outputs.emplace_back(loaded->config);
      outputs.back().WantShared(0,
                                std::as_writable_bytes(std::span(place).subspan(i * part, part)));
      batch.push_back({.inputs = {&views.back(), 1}, .outputs = &outputs.back(), .status = {}});
    }
    loaded->engines[static_cast<std::size_t>(run)]->Run(batch);
    if (!batch.front().status.ok()) {
      state.SkipWithError(batch.front().status.ToString().c_str());
    }
  });
}

// The runtime's own function, with values that are made once.
void RuntimeAlone(benchmark::State& state, const Setting& setting) {
  absl::StatusOr<Loaded> loaded = Load(setting);
  ort::SessionSettings settings{.log_id = setting.model, .intra_op_threads = setting.threads};
  auto session = ort::Session::Open(setting.folder / "model.onnx", settings);
  if (!loaded.ok() || !session.ok()) {
    state.SkipWithError("no such model: run tests/data/onnx/make_yolo.py bench FOLDER");
    return;
  }
  loaded->engines.clear();
  const ort::Library& library = (*session)->library();
  const std::string& input_name = loaded->config.input(0).name();
  const std::string& output_name = loaded->config.output(0).name();
  auto input = ort::Value::Over(library, inference::TYPE_FP32, loaded->input_shape,
                                std::as_bytes(std::span(loaded->input)));
  std::vector<std::vector<float>> memory(static_cast<std::size_t>(setting.runs),
                                         std::vector<float>(Count(loaded->output_shape)));
  std::vector<std::vector<ort::Value>> outputs(memory.size());
  for (std::size_t i = 0; i < memory.size(); ++i) {
    outputs[i].push_back(*ort::Value::Over(library, inference::TYPE_FP32, loaded->output_shape,
                                           std::as_bytes(std::span(memory[i]))));
  }
  const ort::Session::Named named{input_name.c_str(), &*input};
  const char* name = output_name.c_str();
  Measure(state, setting, [&](int run) {
    const absl::Status status = (*session)->Run(
        {&named, 1}, {&name, 1}, outputs[static_cast<std::size_t>(run)], std::stop_token());
    if (!status.ok()) state.SkipWithError(status.ToString().c_str());
  });
}

void Register() {
  const char* folder = std::getenv("INFERPOOL_BENCH_MODELS");  // NOLINT(concurrency-mt-unsafe)
  std::vector<std::pair<std::string, std::filesystem::path>> models;
  if (folder == nullptr) {
    models = {{"shapes", INFERPOOL_SOURCE_DIR "/ops/models/shapes/1"}};
  } else {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      // LoadOnnx looks for model.onnx in a folder: FOLDER/NAME/model.onnx.
      if (entry.is_directory()) models.emplace_back(entry.path().filename(), entry.path());
    }
  }
  for (const auto& [model, path] : models) {
    for (const std::int64_t rows : {1, 8}) {
      for (const int threads : {1, 2}) {
        for (const int runs : {1, 2}) {
          const Setting setting{model, path, rows, threads, runs};
          const auto add = [&](const std::string& way, auto function, auto... arguments) {
            benchmark::RegisterBenchmark(
                (setting.model + "/" + way + "/" + std::to_string(rows) + "/" +
                 std::to_string(threads) + "/" + std::to_string(runs))
                    .c_str(),
                function, setting, arguments...)
                ->Unit(benchmark::kMillisecond)
                ->UseRealTime()
                ->MeasureProcessCPUTime();
          };
          add("runtime", RuntimeAlone);
          add("engine", Engines, false);
          if (rows > 1) add("engine_joined", Engines, true);
        }
      }
    }
  }
}

}  // namespace
}  // namespace inferpool::modelserver

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  inferpool::modelserver::Register();
  benchmark::RunSpecifiedBenchmarks();
}
