// Backend "opencv_letterbox": scales a picture into the input of a YOLO network, without distortion
// and centred on a background of grey 114, with values from 0 to 1. It is the middle step of an
// ensemble.
//
//   input   one tensor, UINT8 [-1, -1, 3]: height, width, RGB
//   output  one tensor, FP32 [3, height, width] with fixed sizes; or [1, 3, height, width] when
//           this model does not batch but the next one does
//
// The configuration has the output. An input that it leaves out is completed as `pixels`.
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Completes the configuration. INVALID_ARGUMENT when its tensors are not as above.
absl::Status CompleteLetterbox(inference::ModelConfig& config);

// Makes one instance of a completed configuration. Its runs fail with INVALID_ARGUMENT when a
// picture has no pixels.
absl::StatusOr<std::unique_ptr<Engine>> MakeLetterboxEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
