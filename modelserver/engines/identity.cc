#include "modelserver/engines/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>

#include "modelserver/config/config_file.h"
#include "shared/base/check.h"

namespace inferpool::modelserver {
namespace {

class IdentityEngine : public Engine {
 public:
  explicit IdentityEngine(std::chrono::duration<double, std::milli> delay) : delay_(delay) {}

  void Run(std::span<Execution> batch) override {
    if (delay_.count() > 0) {
      std::this_thread::sleep_for(delay_);
    }
    CHECK(!batch.empty());
    batch.back().infer_end = Clock::now();
    for (Execution& execution : batch) {
      execution.status = Copy(execution.inputs, *execution.outputs);
    }
  }

  bool instant() const override { return delay_.count() == 0; }

 private:
  static absl::Status Copy(std::span<const TensorView> inputs, Outputs& outputs) {
    try {
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        RETURN_IF_ERROR(outputs.Put(static_cast<int>(i), inputs[i].shape, inputs[i].data));
      }
      return absl::OkStatus();
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("out of memory");
    }
  }

  const std::chrono::duration<double, std::milli> delay_;
};

bool Match(const inference::ModelInput& input, const inference::ModelOutput& output) {
  return input.data_type() == output.data_type() &&
         std::ranges::equal(input.dims(), output.dims(), [](std::int64_t in, std::int64_t out) {
           return in == out || in == -1 || out == -1;
         });
}

}  // namespace

absl::Status CompleteIdentity(inference::ModelConfig& config) {
  if (config.output().empty()) {
    for (int i = 0; i < config.input_size(); ++i) {
      inference::ModelOutput& output = *config.add_output();
      output.set_name(fmt::format("OUTPUT{}", i));
      output.set_data_type(config.input(i).data_type());
      *output.mutable_dims() = config.input(i).dims();
    }
  }
  if (!std::ranges::equal(config.input(), config.output(), Match)) {
    return InvalidArgument(
        "backend 'identity' has as many outputs as inputs, each of its input's data_type and dims");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeIdentityEngine(const inference::ModelConfig& config) {
  ASSIGN_OR_RETURN(const double delay, NumberParameter(config, "execute_delay_ms", 0, 60'000, 0));
  return std::make_unique<IdentityEngine>(std::chrono::duration<double, std::milli>(delay));
}

}  // namespace inferpool::modelserver
