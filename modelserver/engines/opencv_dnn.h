// Backend "opencv_dnn": runs an ONNX network on the CPU with OpenCV's DNN module. All inputs and
// outputs are FP32.
//
// A run uses one thread, because concurrency comes from instances (main calls
// cv::setNumThreads(1)). An input is copied once, by OpenCV, into the network's own memory.
//
// The graph is rewritten for the input shapes of the configuration before OpenCV reads it
// (modelserver/engines/onnx/rewrite.h).
//
// The rows of a batch run one after the other, for three reasons. With one thread, OpenCV 4.6 runs
// a batch no faster than its rows (16 rows of a small detector took 24 ms each, a single row 22
// ms). Whenever the batch's size changes, OpenCV plans its memory again. And OpenCV evaluates Shape
// when it imports the file, so an export that flattens with the batch's size answers a batch of two
// as [1, 8, 200] instead of [2, 8, 100], and wrongly when more layers follow. Row by row, every
// model with an open batch is right, a file made for a batch of 1 serves any batch, and the answer
// for a row does not depend on the other rows.
#pragma once

#include <filesystem>
#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Sets the output sizes in `config` that `file` leaves open, where they follow from the inputs'
// dims. An export with an open batch often leaves all sizes of its output open, but whoever
// interprets a detector's output needs them. `config` is otherwise complete. Sizes that do not
// follow stay open.
void CompleteOutputDims(const std::filesystem::path& file, inference::ModelConfig& config);

// Makes one instance of the network in `file`. When all dimensions of `config`, which is complete,
// are known, the network has already run once, on zeros, so it works and its memory is planned.
// INVALID_ARGUMENT with OpenCV's reason when it cannot import or run the network, or when the
// outputs are not as configured.
absl::StatusOr<std::unique_ptr<Engine>> MakeDnnEngine(const inference::ModelConfig& config,
                                                      const std::filesystem::path& file);

}  // namespace inferpool::modelserver
