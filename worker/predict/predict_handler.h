// POST /v1/predict/{model}
#pragma once

#include <string>

#include "worker/http/exchange.h"
#include "worker/predict/picture_inference.h"

namespace inferpool::predict {

// Answers with what the model found in the picture: as JSON, or drawn into the picture, as the
// request asks. Gives an answer from the cache when there is one. `answerer` answers instead of the
// model; its answers are not kept.
fcgi::Response Predict(http::Exchange& exchange, const http::Services& services,
                       const std::string& model, const Answerer& answerer = {});

}  // namespace inferpool::predict
