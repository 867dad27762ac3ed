// What a worker's own work costs: header, decode, letterbox, YOLO head. Each beside what it
// replaces or is bounded by, in one run, because only ratios mean something on a shared machine.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <span>
#include <string>
#include <vector>

#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"
#include "worker/streams/motion.h"
#include "worker/vision/families/placement.h"
#include "worker/vision/letterbox.h"
#include "worker/vision/model_plan.h"
#include "worker/vision/postprocess.h"
#include "worker/vision/reduction.h"
#include "worker/vision/tensor_writer.h"

namespace inferpool::vision {
namespace {

// The bundled photograph, enlarged to `width` x `height` and encoded again.
std::string Jpeg(int width, int height) {
  const cv::Mat small = cv::imread(INFERPOOL_SOURCE_DIR "/ops/pictures/astronaut.jpg");
  cv::Mat picture;
  cv::resize(small, picture, {width, height}, 0, 0, cv::INTER_CUBIC);
  std::vector<unsigned char> bytes;
  cv::imencode(".jpg", picture, bytes, {cv::IMWRITE_JPEG_QUALITY, 90});
  return {bytes.begin(), bytes.end()};
}

int Width(const benchmark::State& state) {
  return static_cast<int>(state.range(0));
}
int Height(const benchmark::State& state) {
  return static_cast<int>(state.range(1));
}

InputLayout Yolo640() {
  InputLayout layout;
  layout.size = {640, 640};
  layout.scale = {1 / 255.0F, 1 / 255.0F, 1 / 255.0F};
  return layout;
}

void Header(benchmark::State& state) {
  const std::string bytes = Jpeg(Width(state), Height(state));
  for (auto _ : state) benchmark::DoNotOptimize(ReadHeader(bytes));
}

void DecodeOurs(benchmark::State& state) {
  const std::string bytes = Jpeg(Width(state), Height(state));
  const auto header = ReadHeader(bytes);
  for (auto _ : state) benchmark::DoNotOptimize(Decode(bytes, *header));
}

// As far reduced as a 640 x 640 input lets it be.
void DecodeReduced(benchmark::State& state) {
  const std::string bytes = Jpeg(Width(state), Height(state));
  const auto header = ReadHeader(bytes);
  const int reduction = Reduce(*header, Place(Yolo640(), UprightSize(*header))).reduction;
  for (auto _ : state) benchmark::DoNotOptimize(Decode(bytes, *header, reduction));
  state.counters["reduction"] = reduction;
}

// What a frame costs on which nothing moves (worker/streams/motion.h), beside DecodeOurs, which is
// the least that it costs otherwise.
void MotionGate(benchmark::State& state) {
  const std::string bytes = Jpeg(Width(state), Height(state));
  const auto header = ReadHeader(bytes);
  streams::MotionGate gate({});
  TimePoint now{};
  for (auto _ : state) {
    now += std::chrono::milliseconds(40);
    const auto grey = DecodeGrey(bytes, *header, streams::MotionGate::kReduction);
    benchmark::DoNotOptimize(gate.MustLook(*grey, "", now));
  }
}

// Of that, all but the decoding.
void MotionGateAlone(benchmark::State& state) {
  const std::string bytes = Jpeg(Width(state), Height(state));
  const auto grey = DecodeGrey(bytes, *ReadHeader(bytes), streams::MotionGate::kReduction);
  streams::MotionGate gate({});
  TimePoint now{};
  for (auto _ : state) {
    now += std::chrono::milliseconds(40);
    benchmark::DoNotOptimize(gate.MustLook(*grey, "", now));
  }
}

void DecodeOpenCv(benchmark::State& state) {
  const std::string bytes = Jpeg(Width(state), Height(state));
  const std::vector<unsigned char> input(bytes.begin(), bytes.end());
  for (auto _ : state) benchmark::DoNotOptimize(cv::imdecode(input, cv::IMREAD_COLOR));
}

// Both stages, which is what a request pays: the reduced picture is letterboxed faster, too.
void DecodeAndLetterbox(benchmark::State& state) {
  const std::string bytes = Jpeg(Width(state), Height(state));
  const auto header = ReadHeader(bytes);
  const InputLayout layout = Yolo640();
  Placement placement = Place(layout, UprightSize(*header));
  if (state.range(2) != 0) placement = Reduce(*header, placement);
  std::vector<std::byte> row(RowBytes(layout, placement.input));
  for (auto _ : state) {
    const auto picture = Decode(bytes, *header, placement.reduction);
    benchmark::DoNotOptimize(WriteInput(*picture, placement, layout, row));
  }
  state.counters["reduction"] = placement.reduction;
}

void LetterboxOurs(benchmark::State& state) {
  const cv::Mat picture(Height(state), Width(state), CV_8UC3, cv::Scalar(10, 20, 30));
  const InputLayout layout = Yolo640();
  const Placement placement = Place(layout, picture.size());
  std::vector<std::byte> row(RowBytes(layout, placement.input));
  for (auto _ : state) {
    benchmark::DoNotOptimize(WriteInput(picture, placement, layout, row));
  }
}

// As the Python stack does it: resize, pad, reorder the channels, to float, scale, transpose.
void LetterboxStepByStep(benchmark::State& state) {
  const cv::Mat picture(Height(state), Width(state), CV_8UC3, cv::Scalar(10, 20, 30));
  const Placement placement = Place(Yolo640(), picture.size());
  const cv::Rect content = placement.content;
  for (auto _ : state) {
    cv::Mat resized;
    cv::Mat padded;
    cv::Mat rgb;
    cv::Mat scaled;
    std::vector<cv::Mat> planes;
    cv::resize(picture, resized, content.size());
    cv::copyMakeBorder(resized, padded, content.y, 640 - content.y - content.height, content.x,
                       640 - content.x - content.width, cv::BORDER_CONSTANT,
                       cv::Scalar::all(kPadding));
    cv::cvtColor(padded, rgb, cv::COLOR_BGR2RGB);
    rgb.convertTo(scaled, CV_32FC3, 1 / 255.0);
    cv::split(scaled, planes);
    benchmark::DoNotOptimize(planes);
  }
}

void YoloHead(benchmark::State& state) {
  ModelDescription model;
  model.inputs = {{"images", "FP32", {1, 3, 640, 640}}};
  model.outputs = {{"output0", "FP32", {1, 84, 8400}}};
  const auto plan = MakePlan(model);
  std::vector<float> head(std::size_t{84} * 8400, 0.01F);
  for (std::size_t anchor = 0; anchor < 8400; anchor += 100) {
    for (std::size_t row = 0; row < 4; ++row) head[row * 8400 + anchor] = 100;
    head[40 * 8400 + anchor] = 0.9F;
  }
  const TensorView view{.name = "output0",
                        .datatype = inference::TYPE_FP32,
                        .shape = model.outputs[0].shape,
                        .data = std::as_bytes(std::span(head))};
  const Placement placement = Place(plan->input, {1920, 1080});
  for (auto _ : state) {
    benchmark::DoNotOptimize(Postprocess(*plan, std::span(&view, 1), placement, {}));
  }
}

void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({640, 480})
      ->Args({1920, 1080})
      ->Args({3840, 2160})
      ->Unit(benchmark::kMillisecond);
}

BENCHMARK(Header)->Args({1920, 1080});
BENCHMARK(DecodeOurs)->Apply(Sizes);
BENCHMARK(DecodeReduced)->Apply(Sizes);
BENCHMARK(MotionGate)->Apply(Sizes);
BENCHMARK(MotionGateAlone)->Apply(Sizes);
BENCHMARK(DecodeOpenCv)->Apply(Sizes);
BENCHMARK(DecodeAndLetterbox)
    ->Args({640, 480, 0})
    ->ArgsProduct({{1920}, {1080}, {0, 1}})
    ->ArgsProduct({{3840}, {2160}, {0, 1}})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(LetterboxOurs)->Apply(Sizes);
BENCHMARK(LetterboxStepByStep)->Apply(Sizes);
BENCHMARK(YoloHead)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace inferpool::vision
