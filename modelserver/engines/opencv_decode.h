// Backend "opencv_decode": an encoded picture in (JPEG, PNG, WebP, GIF), its pixels out. The first
// step of an ensemble that takes pictures as clients have them.
//
//   in   one tensor, BYTES [1] or UINT8 [-1]: the picture's bytes
//   out  one tensor, UINT8 [-1, -1, 3]: height, width, RGB; upright, as its EXIF data has it; the
//        same pixels as those of a worker that decodes by itself (shared/pictures/decode.h)
//
// The configuration names the tensors; what it leaves out is completed as `image` (BYTES) and
// `pixels`. A batch has pictures of one size, or is refused.
//
// Parameters:
//   max_pixels  50000000  (1 to 2e9)  judged by the header, before the picture is decoded
#pragma once

#include <memory>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Error: INVALID_ARGUMENT when the tensors are not as above.
absl::Status CompleteDecode(inference::ModelConfig& config);

// One instance. Its runs fail with INVALID_ARGUMENT for a picture that is broken, too large, or of
// another format. Error: INVALID_ARGUMENT for a parameter out of range.
absl::StatusOr<std::unique_ptr<Engine>> MakeDecodeEngine(const inference::ModelConfig& config);

}  // namespace inferpool::modelserver
