// Runs the requests of a configuration's model_warmup on every instance before the model is ready,
// so that the first client does not wait for what a library does at its first run.
//
//   model_warmup { name: "zeros" batch_size: 2 count: 3
//                  inputs { key: "x" value { data_type: TYPE_FP32 dims: [3, 32, 32]
//                                            zero_data: true } } }
//
// `random_data` is the same at every start. With zero_data and random_data, BYTES elements are
// empty. `input_data_file` is a file in <model>/warmup that has the raw contents of one row. A row
// is repeated batch_size times. A batch_size or count of 0 stands for 1.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Runs all warm-ups of the completed `config` on each of `instances`. INVALID_ARGUMENT when a
// warm-up does not fit the model, exceeds a limit (32 warm-ups, 1000 runs, 256 MiB), or its file
// cannot be read. The engine's errors. Each error has the warm-up's name.
absl::Status WarmUp(const inference::ModelConfig& config, const std::filesystem::path& model_folder,
                    std::span<const std::unique_ptr<Engine>> instances);

}  // namespace inferpool::modelserver
