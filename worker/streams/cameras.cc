#include "worker/streams/cameras.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "shared/base/priority.h"
#include "shared/redis/names.h"
#include "worker/streams/counts.h"
#include "worker/streams/trip.h"

namespace inferpool::streams {
namespace {

constexpr std::chrono::milliseconds kLookEvery{2'000};

Policy PolicyOf(std::string_view word) {
  return word == "all" ? Policy::kAll : word == "fifo" ? Policy::kFifo : Policy::kLatest;
}

}  // namespace

absl::Status Cameras::Look(Redis& redis, TimePoint now) {
  next_look_ = now + kLookEvery;
  if (settings_.camera_set.empty()) return absl::OkStatus();
  const auto members = redis.Call({"SMEMBERS", settings_.camera_set});
  if (!members.ok()) {
    // A key of another type: those that are known stay.
    return BreaksConnection(members.status()) ? members.status() : absl::OkStatus();
  }
  in_redis_.clear();
  for (std::size_t i = 0; i < (**members).size(); ++i) {
    const std::string_view id = (**members).at(i).Text();
    if (IsCameraId(id)) in_redis_.emplace(id);
  }
  return absl::OkStatus();
}

CameraOptions Cameras::OptionsOf(const std::string& id) const {
  CameraOptions options{.model = settings_.model,
                        .policy = PolicyOf(settings_.policy),
                        .max_age_ms = settings_.max_age_ms,
                        .findings_only = settings_.results == "findings",
                        .motion = MotionOf(settings_.motion, {})};
  const auto found = settings_.cameras.find(id);
  if (found == settings_.cameras.end()) return options;
  const Config::Camera& camera = found->second;
  if (!camera.model.empty()) options.model = camera.model;
  if (!camera.policy.empty()) options.policy = PolicyOf(camera.policy);
  options.parameters = camera.parameters;
  options.max_age_ms = camera.max_age_ms.value_or(settings_.max_age_ms);
  options.rate = camera.rate;
  options.priority = ParsePriority(camera.priority).value_or(Priority::kNormal);
  options.motion = MotionOf(settings_.motion, camera.motion);
  if (!camera.results.empty()) options.findings_only = camera.results == "findings";
  return options;
}

void Cameras::SetIn(Schedule& schedule, const Leases& leases, const Scoreboard& board) const {
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(settings_.shards), 0);
  const auto set = [&](const std::string& id) {
    const int shard = ShardOf(id, settings_.shards);
    if (!leases.Has(shard)) return;
    ++counts[static_cast<std::size_t>(shard)];
    schedule.Set(id, shard, OptionsOf(id));
  };
  for (const auto& [id, camera] : settings_.cameras) set(id);
  for (const std::string& id : in_redis_) {
    if (!settings_.cameras.contains(id)) set(id);
  }
  schedule.Keep([&](const Camera& camera) {
    return leases.Has(camera.shard) &&
           (in_redis_.contains(camera.id) || settings_.cameras.contains(camera.id));
  });
  for (int shard = 0; shard < settings_.shards; ++shard) {
    if (leases.Has(shard)) {
      CountsOf(board, shard).cameras = counts[static_cast<std::size_t>(shard)];
    }
  }
}

}  // namespace inferpool::streams
