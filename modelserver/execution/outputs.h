// The outputs of one request, and the memory to which each of them goes: the reply's own, or a part
// of a shared-memory region.
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

// An engine writes each wanted output into the memory that Add returns, so that no output is copied
// on its way out. Not thread safe. `config` must outlive it.
class Outputs {
 public:
  struct Output {
    int index = 0;                     // in the configuration
    std::span<std::byte> shared = {};  // the shared memory for it, when in_shared
    bool in_shared = false;
    // Set by Add.
    bool added = false;
    std::vector<std::int64_t> shape = {};
    std::string own = {};   // the reply's memory, unless in_shared
    std::size_t bytes = 0;  // the output's size, wherever it is
  };

  explicit Outputs(const inference::ModelConfig& config) : config_(&config) {}

  // Asks for output `index` of the configuration, at most once for each. The reply has the outputs
  // in the order of these calls.
  void Want(int index) { wanted_.push_back({.index = index}); }
  void WantShared(int index, std::span<std::byte> memory) {
    wanted_.push_back({.index = index, .shared = memory, .in_shared = true});
  }

  // Whether output `index` is asked for. The engine need not make the others.
  bool Wanted(int index) const;

  // Returns `bytes` bytes of memory for output `index`, to be called once for each wanted output.
  // The engine writes all of it. It is valid until this object ends or moves, and aligned to 8
  // bytes when it is the reply's. `shape` is the engine's; clients see what the configuration's
  // reshape makes of it. INTERNAL when the output is not wanted, when its shared memory is too
  // small, or when the shape does not fit the reshape.
  absl::StatusOr<std::span<std::byte>> Add(int index, std::span<const std::int64_t> shape,
                                           std::size_t bytes);

  // Adds output `index` with a copy of `data`. Does nothing when the output is not wanted.
  absl::Status Put(int index, std::span<const std::int64_t> shape, std::span<const std::byte> data);

  // The shared memory for output `index`; empty when it is not wanted there.
  std::span<const std::byte> SharedMemory(int index) const;

  // Undoes all Add and Put, for an engine that fails after some of them.
  void Clear();

  const inference::ModelConfig& config() const { return *config_; }
  std::vector<Output>& wanted() { return wanted_; }
  const std::vector<Output>& wanted() const { return wanted_; }

  // A wanted output that was added, as a tensor. The view is valid until this object ends or moves.
  TensorView View(const Output& output) const;

 private:
  const inference::ModelConfig* config_;
  std::vector<Output> wanted_;
};

}  // namespace inferpool::modelserver
