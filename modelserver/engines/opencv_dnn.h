// Backend "opencv_dnn": an ONNX network through OpenCV's DNN module, on the CPU. FP32 in, FP32 out.
//
// One thread a call: concurrency comes from instances (main sets cv::setNumThreads(1)). An input is
// wrapped, not copied, by us; OpenCV copies it once into the network's own memory.
//
// The graph is rewritten before OpenCV reads it (modelserver/engines/onnx/rewrite.h), for the
// shapes that the configuration gives the inputs.
//
// The rows of a batch run one after the other. Measured on OpenCV 4.6 with one thread, a batch is
// no faster than its rows (16 rows of a small detector: 24 ms each, alone 22 ms); each change of
// its size makes OpenCV plan its memory anew; and OpenCV evaluates Shape when it imports, so an
// export that flattens with the batch's own size answers a batch of two as [1, 8, 200] instead of
// [2, 8, 100], and wrongly once layers follow. Row by row every model with an open batch is right,
// a file made for a batch of 1 serves any, and a row's answer does not depend on its neighbours.
#pragma once

#include <filesystem>
#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Writes into `config`, complete but for them, the sizes of outputs that `file` leaves open and
// that follow from the inputs' dims: an export with an open batch often leaves all of its output's
// open, and who interprets a detector's head needs them. What does not follow stays open.
void CompleteOutputDims(const std::filesystem::path& file, inference::ModelConfig& config);

// One instance of `file` as the completed `config` describes it. When all dimensions are known it
// has run once, on zeros, so the network works and its memory is planned. Error: INVALID_ARGUMENT
// with OpenCV's reason when it cannot import or run the network, or its outputs are not as
// configured.
absl::StatusOr<std::unique_ptr<Engine>> MakeDnnEngine(const inference::ModelConfig& config,
                                                      const std::filesystem::path& file);

}  // namespace inferpool::modelserver
