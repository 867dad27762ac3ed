// POST /v1/predict/{model}
#pragma once

#include "worker/backend/catalog.h"
#include "worker/http/exchange.h"
#include "worker/predict/picture_inference.h"

namespace inferpool::predict {

// Answers with what the model found in the picture: as JSON, or drawn into the picture, as the
// request asks. Gives an answer from the cache when there is one. `answerer` answers instead of the
// model; its answers are not kept.
fcgi::Response Predict(http::Exchange& exchange, const http::Services& services,
                       const backend::ModelVersion& model, const Answerer& answerer = {});

}  // namespace inferpool::predict
