#include "modelserver/execution/outputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "modelserver/config/reshape.h"
#include "shared/base/perturb.h"

namespace inferpool::modelserver {

bool Outputs::Wanted(int index) const {
  return std::ranges::find(wanted_, index, &Output::index) != wanted_.end();
}

std::span<const std::byte> Outputs::SharedMemory(int index) const {
  const auto found = std::ranges::find(wanted_, index, &Output::index);
  return found != wanted_.end() && found->in_shared ? found->shared : std::span<std::byte>();
}

absl::StatusOr<std::span<std::byte>> Outputs::Add(int index, std::span<const std::int64_t> shape,
                                                  std::size_t bytes) {
  const auto found = std::ranges::find(wanted_, index, &Output::index);
  if (found == wanted_.end() || found->added) {
    return absl::InternalError(fmt::format("the engine made output '{}', which nobody waits for",
                                           config_->output(index).name()));
  }
  if (found->in_shared && found->shared.size() < bytes) {
    return absl::InternalError(fmt::format(
        "shared memory size specified with the request for output '{}' ({} bytes) should be at "
        "least {} bytes to hold the results",
        config_->output(index).name(), found->shared.size(), bytes));
  }
  const inference::ModelOutput& output = config_->output(index);
  if (output.has_reshape()) {
    ASSIGN_OR_RETURN(
        std::vector<std::int64_t> reshaped,
        Reshaped(shape, config_->max_batch_size() > 0, output.reshape().shape(), output.dims()));
    found->shape = std::move(reshaped);
  } else {
    found->shape.assign(shape.begin(), shape.end());
  }
  found->added = true;
  found->bytes = bytes;
  if (found->in_shared) {
    return found->shared.first(bytes);
  }
  found->own.resize(bytes);
  const std::span<std::byte> memory = std::as_writable_bytes(std::span(found->own));
  Perturb(memory);  // zeros would hide what the engine forgets
  return memory;
}

absl::Status Outputs::Put(int index, std::span<const std::int64_t> shape,
                          std::span<const std::byte> data) {
  if (!Wanted(index)) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::span<std::byte> memory, Add(index, shape, data.size()));
  if (!data.empty()) {
    std::memcpy(memory.data(), data.data(), data.size());
  }
  return absl::OkStatus();
}

void Outputs::Clear() {
  for (Output& output : wanted_) {
    output.added = false;
    output.own.clear();
    output.bytes = 0;
  }
}

TensorView Outputs::View(const Output& output) const {
  const inference::ModelOutput& configured = config_->output(output.index);
  return {.name = configured.name(),
          .datatype = configured.data_type(),
          .shape = output.shape,
          .data = output.in_shared ? std::span<const std::byte>(output.shared.first(output.bytes))
                                   : std::as_bytes(std::span(output.own))};
}

}  // namespace inferpool::modelserver
