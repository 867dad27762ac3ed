// POST /v1/predict/{model}
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "worker/http/exchange.h"
#include "worker/http/parameters.h"
#include "worker/predict/predictor.h"

namespace inferpool::api {

fcgi::Response Predict(Exchange& exchange, const Services& services, const std::string& model);

// One picture of a request's: unless it is quarantined, the thread's crash would be its doing from
// here on, which `task` says. `keep_pixels`: as Predictor::Predict has it.
std::variant<Prediction, Problem> PredictPicture(const Exchange& exchange, const Services& services,
                                                 const std::string& model, std::string_view picture,
                                                 const PredictParameters& parameters,
                                                 bool keep_pixels, Seqlock<Task>& task,
                                                 Timings& timings);

}  // namespace inferpool::api
