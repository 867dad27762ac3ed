// What a request wants to know of a picture, in the model's own numbers and in the picture's
// pixels. Pure.
#pragma once

#include <memory>
#include <opencv2/core/types.hpp>
#include <optional>
#include <variant>
#include <vector>

#include "worker/backend/catalog.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/vision/postprocess.h"
#include "worker/vision/tiles.h"

namespace inferpool::predict {

// Returns the options of the model's reading; its plan must be ok. Classes are named as the model
// names them, or by number where none has that name; the name of a class may have commas, of which
// the longest name is taken that fits. The problem is a 400: there is no such class, or the model
// cannot be asked about parts or classes, whatever the picture.
//
// `one_of_several`: other models are asked the same. Classes that the model does not know are then
// those of others: it finds nothing of them. A model without classes answers as if none were named,
// and so does one without thresholds for theirs.
[[nodiscard]] std::variant<vision::Options, http::Problem> OptionsFor(
    const backend::Model& model, const http::PredictParameters& parameters,
    bool one_of_several = false);

// The problem of a class that none of the models knows, which are asked the same; nullopt when each
// class has a model that knows it, and when there are no models.
[[nodiscard]] std::optional<http::Problem> CheckClasses(
    const std::vector<std::shared_ptr<const backend::Model>>& models,
    const http::PredictParameters& parameters);

// Returns the part of an upright picture of that size that the request asks about: as far as it
// lies in the picture, with whole pixels. The problem is a 400: nothing of it lies in the picture,
// or its numbers are evidently in the other unit than parameters.normalized says.
[[nodiscard]] std::variant<cv::Rect, http::Problem> RegionOf(
    const http::PredictParameters& parameters, cv::Size picture);

// Returns the tiles that the request asks for in that part; a single one when it asks for none.
vision::TileGrid TilesOf(const http::PredictParameters& parameters, const vision::ModelPlan& plan,
                         const cv::Rect& part, int most);

}  // namespace inferpool::predict
