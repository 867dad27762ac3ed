// The configuration's key `models` as the worker takes it.
#pragma once

#include <vector>

#include "shared/config/config.h"
#include "worker/backend/model_settings.h"

namespace inferpool::worker {

backend::SettingsByModel SettingsOf(const Config& config);

// What is wrong with the models' parameters, which only the worker knows.
std::vector<ConfigProblem> CheckModels(const Config& config);

}  // namespace inferpool::worker
