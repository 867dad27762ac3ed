// Backend "onnxruntime": runs an ONNX network on the CPU with ONNX Runtime.
//
// All instances of a model share one session, and so its weights. An instance is the right to run;
// by default there is one per usable processor, and each run uses one thread, that of its caller.
//
// One request is not copied: the runtime reads the caller's memory, and writes an output where it
// is wanted when its size is known. Requests of a batch are joined into one run, with one copy of
// their inputs unless these already lie one behind the other.
//
// A client can change a tensor in shared memory while the model runs. An index that a kernel has
// checked could be another one when it is used. So integers, BOOL and BYTES in shared memory are
// copied before the run, and such outputs are copied there after it. So are small tensors of any
// type, which may be sizes, data that is not aligned for its type, all tensors of a net that has an
// operator which decides by values what it reads, such as TopK, and outputs where an input lies.
#pragma once

#include <filesystem>

#include "modelserver/engines/loaded_model.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Loads the model file in `version_folder`, and completes `config` with what it says
// (onnx_config.h) and with what a trial run shows: the sizes of outputs that the file leaves open,
// and whether batches can run in one piece. The trial is made when the inputs' sizes are known and
// they are numbers of floating point or bytes, as pictures are.
//
// INVALID_ARGUMENT with the reason when the model cannot be loaded or run, or contradicts the
// configuration; UNAVAILABLE without ONNX Runtime.
absl::StatusOr<LoadedModel> LoadOnnx(const std::filesystem::path& version_folder,
                                     inference::ModelConfig config);

}  // namespace inferpool::modelserver
