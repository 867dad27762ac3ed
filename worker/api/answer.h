// A prediction as the JSON that clients get.
#pragma once

#include <string>
#include <string_view>

#include "worker/api/predictor.h"
#include "worker/api/timings.h"

namespace inferpool::api {

// `normalized`: boxes in 0..1 of the picture instead of its pixels. Detections for detectors,
// "classes" for classifications, "embedding" for embeddings.
std::string ToJson(const Prediction& prediction, bool normalized, const Timings& timings,
                   std::string_view request_id);

}  // namespace inferpool::api
