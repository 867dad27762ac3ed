// POST /v1/predict/{model}/batch: several pictures, each answered on its own.
#pragma once

#include <string>

#include "worker/http/exchange.h"
#include "worker/predict/picture_inference.h"

namespace inferpool::predict {

// Works on the pictures in parallel, in the calling thread and in as many spare ones as there are.
// A picture's problem stands in its place and does not affect the others; the status is 200 when
// the request itself is good. The stages' times are the sums over all pictures. `answerer` answers
// instead of the model.
fcgi::Response PredictBatch(http::Exchange& exchange, const http::Services& services,
                            const backend::ModelVersion& model, const Answerer& answerer = {});

}  // namespace inferpool::predict
