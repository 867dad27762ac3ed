#include "worker/streams/mode.h"

#include <algorithm>

namespace inferpool::streams {
namespace {

// Frames that a thread asks a server about in one call, unless batch.max says more.
constexpr int kGroup = 16;
// How long an answer tells what the model's server is like.
constexpr std::chrono::seconds kLasts{10};

std::size_t ShareOfProcessors(const Config& config, std::size_t threads, int processors) {
  const int processes = std::max(config.streams.workers, 1);
  const int share = std::max((processors + processes - 1) / processes, 1);
  return std::min(static_cast<std::size_t>(share), threads);
}

}  // namespace

Mode::Mode(const Config& config, std::size_t threads, int processors)
    : sync_{.threads = ShareOfProcessors(config, threads, processors), .group = 1},
      async_{.threads = threads,
             .group = static_cast<std::size_t>(std::max(config.batch.max, kGroup))} {
  if (config.streams.mode != "auto") is_async_ = config.streams.mode == "async";
}

void Mode::Saw(bool batches_elsewhere, TimePoint now) {
  if (batches_elsewhere) saw_batching_ = now;
}

Width Mode::At(TimePoint now) const {
  const bool is_async = is_async_.value_or(saw_batching_ && now < *saw_batching_ + kLasts);
  return is_async ? async_ : sync_;
}

std::size_t Mode::most_threads() const {
  return is_async_ == false ? sync_.threads : async_.threads;
}

bool BatchesElsewhere(const backend::Model& model, const Config& config) {
  if (model.description.max_batch_size <= 1) return false;
  if (!config.modelserver.enabled) return true;
  const auto& targets = config.backend.targets;
  return std::ranges::any_of(model.servers, [&](std::size_t server) {
    return server < targets.size() && targets[server] != config.modelserver.listen;
  });
}

}  // namespace inferpool::streams
