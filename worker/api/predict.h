// POST /v1/predict/{model}
#pragma once

#include <string>

#include "worker/api/exchange.h"

namespace inferpool::api {

fcgi::Response Predict(Exchange& exchange, const Services& services, const std::string& model);

}  // namespace inferpool::api
