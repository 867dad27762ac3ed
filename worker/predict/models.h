// What the model server has ready, as JSON.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/backend/catalog.h"

namespace inferpool::api {

// {"name":"faces","version":"1","family":"end_to_end","max_batch_size":0,"inputs":[...],
//  "outputs":[...],"class_names":[...]}; `family` is null, with the reason in "unusable", for a
// model that this API cannot serve predictions of.
std::string ToJson(const backend::Model& model);

// {"models":[...]}
std::string ToJson(const std::vector<std::shared_ptr<const backend::Model>>& models);

}  // namespace inferpool::api
