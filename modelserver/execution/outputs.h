// Where the outputs of one request go: memory of the reply, or a part of a shared-memory region.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proto/model_config.pb.h"
#include "proto/tensor.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// An engine writes each wanted output once, into the memory that Add gives it, so that nothing is
// copied on its way out. One thread at a time. `config` must outlive it.
class Outputs {
 public:
  struct Output {
    int index = 0;                     // of the configuration
    std::span<std::byte> shared = {};  // where it goes, when that is not the reply
    bool in_shared = false;
    // Set by Add.
    bool added = false;
    std::vector<std::int64_t> shape = {};
    std::string own = {};   // the reply's memory
    std::size_t bytes = 0;  // written, in either
  };

  explicit Outputs(const inference::ModelConfig& config) : config_(&config) {}

  // Asks for output `index` of the configuration, in this order in the reply; each once.
  void Want(int index) { wanted_.push_back({.index = index}); }
  void WantShared(int index, std::span<std::byte> memory) {
    wanted_.push_back({.index = index, .shared = memory, .in_shared = true});
  }

  // Whether output `index` is asked for; the engine need not make the others.
  bool Wanted(int index) const;

  // The memory of output `index`, of `bytes` bytes and the engine's `shape` (clients see it before
  // the configuration's reshape), aligned to 8 at least when it is the reply's.
  // To be written completely; valid as long as this, unmoved. Once for each index. Errors: INTERNAL
  // when a shared-memory destination is smaller, with both sizes; INTERNAL when it is not wanted.
  absl::StatusOr<std::span<std::byte>> Add(int index, std::span<const std::int64_t> shape,
                                           std::size_t bytes);

  // Add, and a copy of `data` into it. An output that is not wanted is dropped.
  absl::Status Put(int index, std::span<const std::int64_t> shape, std::span<const std::byte> data);

  // A batch's first error, say, has made what was added worthless: none is added.
  void Clear();

  const inference::ModelConfig& config() const { return *config_; }
  std::vector<Output>& wanted() { return wanted_; }
  const std::vector<Output>& wanted() const { return wanted_; }

  // A wanted output that was added, as a tensor; valid as long as this, unmoved.
  TensorView View(const Output& output) const;

 private:
  const inference::ModelConfig* config_;
  std::vector<Output> wanted_;
};

}  // namespace inferpool::modelserver
