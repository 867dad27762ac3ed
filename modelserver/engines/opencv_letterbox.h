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
#include <opencv2/core/types.hpp>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Where in an input of size `input` the whole `picture` comes to lie (sides at least 1). As
// Ultralytics' LetterBox (ultralytics/data/augment.py): r = min(W / w, H / h), the size round(w r)
// x round(h r), at least 1 x 1; left = round((W - size) / 2 - 0.1), top likewise; round is half to
// even. The workers place pictures by the same rules, so boxes find their way back.
cv::Rect LetterboxContent(cv::Size picture, cv::Size input);

// Error: INVALID_ARGUMENT when the tensors are not as above.
absl::Status CompleteLetterbox(inference::ModelConfig& config);

// One instance. Its runs fail with INVALID_ARGUMENT for a picture without pixels.
absl::StatusOr<std::unique_ptr<Engine>> MakeLetterboxEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
