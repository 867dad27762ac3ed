// A trial run of an ONNX model at its loading.
#pragma once

#include "modelserver/engines/onnx_engine.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Runs the model a few times, if its inputs' sizes are known and any numbers will do, and notes in
// `model` what that shows: sizes of outputs that the configuration leaves open, and whether rows
// can run together. Returns the run's error when it cannot run at all, so that it does not take the
// place of a version that can. A model that takes too long for that, or may have failed for our
// inputs' sake, is served as its file says.
absl::Status TryModel(OnnxModel& model);

}  // namespace inferpool::modelserver
