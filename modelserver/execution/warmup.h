// model_warmup: requests that every instance of a model answers before the model counts as ready,
// so that the first client does not pay for what a library does at its first run.
//
//   model_warmup { name: "zeros" batch_size: 2 count: 3
//                  inputs { key: "x" value { data_type: TYPE_FP32 dims: [3, 32, 32]
//                                            zero_data: true } } }
//
// `random_data` is the same at every start (BYTES elements are empty in both); `input_data_file` is
// a file in <model>/warmup with the tensor of one row, as it travels. A row is repeated batch_size
// times; a batch_size or count of 0 means 1.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "modelserver/execution/engine.h"
#include "proto/model_config.pb.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// Runs all warm-ups of the completed `config` on each of `instances`. Error: INVALID_ARGUMENT when
// one does not fit the model, is past a bound (32 warm-ups, 1000 runs, 256 MiB) or its file cannot
// be read, or the engine's; with the warm-up's name.
absl::Status WarmUp(const inference::ModelConfig& config, const std::filesystem::path& model_folder,
                    std::span<const std::unique_ptr<Engine>> instances);

}  // namespace inferpool::modelserver
