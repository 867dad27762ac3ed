// Backend "opencv_letterbox": a picture's pixels in, the input of a YOLO out: the whole picture,
// its shape kept, centred on grey 114, values of 0 to 1. The middle step of an ensemble.
//
//   in   one tensor, UINT8 [-1, -1, 3]: height, width, RGB
//   out  one tensor, FP32 [3, height, width] with fixed sizes; or [1, 3, height, width] when the
//        model does not batch but the next one does
//
// The configuration names the output; the input is completed as `pixels`.
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Error: INVALID_ARGUMENT when the tensors are not as above.
absl::Status CompleteLetterbox(inference::ModelConfig& config);

// One instance. Its runs fail with INVALID_ARGUMENT for a picture without pixels.
absl::StatusOr<std::unique_ptr<Engine>> MakeLetterboxEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
