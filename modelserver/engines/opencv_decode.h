// Backend "opencv_decode": decodes a picture (JPEG, PNG, WebP, GIF) to its pixels. It is the first
// step of an ensemble whose clients send picture files.
//
//   input   one tensor, BYTES [1] or UINT8 [-1]: the picture's bytes
//   output  one tensor, UINT8 [-1, -1, 3]: height, width, RGB, turned upright as the EXIF data
//           says. A worker that decodes the picture itself gets the same pixels
//           (shared/pictures/decode.h).
//
// Tensors that the configuration leaves out are completed as `image` (BYTES) and `pixels`. All
// pictures of a batch must have the same size.
//
// Parameters:
//   max_pixels  50000000  (1 to 2e9)  width times height in the header, checked before decoding
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Completes the configuration. INVALID_ARGUMENT when its tensors are not as above.
absl::Status CompleteDecode(inference::ModelConfig& config);

// Makes one instance of a completed configuration. Its runs fail with INVALID_ARGUMENT when a
// picture is broken, too large, or in another format. INVALID_ARGUMENT when a parameter is out of
// range.
absl::StatusOr<std::unique_ptr<Engine>> MakeDecodeEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
