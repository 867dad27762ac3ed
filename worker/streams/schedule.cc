#include "worker/streams/schedule.h"

#include <algorithm>
#include <utility>

#include "shared/redis/names.h"

namespace inferpool::streams {
namespace {

// Until a frame of a camera was seen: one of 640 x 480 as JPEG.
constexpr std::size_t kUsualFrame = std::size_t{64} << 10;
constexpr std::size_t kMostInWork = 512;
constexpr double kBusyUs = 20'000;
// A rate below it is this one: a frame in 11 days.
constexpr double kLeastRate = 1e-6;
// Of so many choices one is by age only.
constexpr std::uint64_t kByAge = 4;

}  // namespace

std::size_t ExpectedBytes(const Camera& camera) {
  return camera.frame_bytes == 0 ? kUsualFrame : camera.frame_bytes;
}

void Schedule::Set(const std::string& id, int shard, CameraOptions options) {
  const auto [found, added] = cameras_.try_emplace(id);
  Camera& camera = found->second;
  if (added) {
    camera.id = id;
    camera.shard = shard;
    camera.key = FramesKey(shard, id);
  }
  if (added || camera.options.motion != options.motion) {
    camera.gate = options.motion ? std::make_shared<MotionGate>(*options.motion) : nullptr;
  }
  const bool is_ready = camera.state == Camera::State::kReady;
  if (is_ready) ReadyOf(camera).erase(&camera);
  camera.options = std::move(options);
  if (is_ready) ReadyOf(camera).insert(&camera);
  camera.gone = false;
}

void Schedule::Keep(const std::function<bool(const Camera&)>& keep) {
  for (auto next = cameras_.begin(); next != cameras_.end();) {
    Camera& camera = next->second;
    ++next;
    if (!keep(camera)) Drop(camera);
  }
}

void Schedule::Drop(Camera& camera) {
  if (camera.state == Camera::State::kInWork) {
    camera.gone = true;
    return;
  }
  ReadyOf(camera).erase(&camera);
  cameras_.erase(cameras_.find(camera.id));
}

Camera* Schedule::Find(std::string_view id) {
  const auto found = cameras_.find(id);
  return found == cameras_.end() ? nullptr : &found->second;
}

std::vector<Camera*> Schedule::All() {
  std::vector<Camera*> cameras;
  cameras.reserve(cameras_.size());
  for (auto& [id, camera] : cameras_) cameras.push_back(&camera);
  return cameras;
}

std::vector<Camera*> Schedule::ToLookAt(bool all, TimePoint now) {
  std::vector<Camera*> cameras;
  for (auto& [id, camera] : cameras_) {
    if (camera.state != Camera::State::kIdle || now < camera.rests_until) continue;
    if (all || camera.options.priority == Priority::kHigh) cameras.push_back(&camera);
  }
  return cameras;
}

void Schedule::Found(Camera& camera, std::int64_t waiting) {
  camera.waiting = waiting;
  if (waiting <= 0 || camera.state != Camera::State::kIdle) return;
  camera.state = Camera::State::kReady;
  ReadyOf(camera).insert(&camera);
}

void Schedule::Saw(Camera& camera, std::int64_t frames, std::int64_t now_ms) {
  if (frames <= 0) {
    camera.waits_since_ms = 0;
  } else if (camera.waits_since_ms == 0) {
    camera.waits_since_ms = now_ms;
  }
}

bool Schedule::has_ready() const {
  return !std::ranges::all_of(ready_, &Ready::empty);
}

Camera& Schedule::Choose() {
  const bool by_age = ++turn_ % kByAge == 0;
  Camera* chosen = nullptr;
  for (const Ready& ready : ready_) {  // the highest priority first
    if (ready.empty()) continue;
    if (chosen == nullptr || (*ready.begin())->served < chosen->served) chosen = *ready.begin();
    if (!by_age) break;
  }
  return *chosen;
}

std::vector<Camera*> Schedule::Next(std::size_t count, std::size_t bytes, std::size_t first) {
  std::vector<Camera*> chosen;
  needed_ = 0;
  while (has_ready() && chosen.size() < count) {
    Camera& camera = Choose();
    const std::size_t size = ExpectedBytes(camera);
    if (size > (chosen.empty() ? first : bytes)) {
      if (chosen.empty()) needed_ = size;
      break;
    }
    bytes -= std::min(size, bytes);
    ReadyOf(camera).erase(&camera);
    camera.state = Camera::State::kInWork;
    camera.served = turn_;
    chosen.push_back(&camera);
  }
  return chosen;
}

void Schedule::TooLarge(Camera& camera, std::size_t bytes) {
  camera.frame_bytes = bytes;
  Done(camera);
}

void Schedule::NotThere(Camera& camera) {
  Done(camera);
}

void Schedule::PutBack() {
  for (auto next = cameras_.begin(); next != cameras_.end();) {
    Camera& camera = next->second;
    ++next;
    if (camera.state == Camera::State::kInWork && !camera.has_frame) Done(camera);
  }
}

void Schedule::Took(Camera& camera, std::size_t bytes, std::int64_t came_ms, TimePoint now) {
  if (camera.state == Camera::State::kReady) ReadyOf(camera).erase(&camera);
  camera.state = Camera::State::kInWork;
  camera.has_frame = true;
  camera.waits_since_ms = came_ms;
  // Grows at once and shrinks slowly: one too large for its trip was read in vain.
  camera.frame_bytes = std::max(bytes, camera.frame_bytes - camera.frame_bytes / 4);
  if (camera.options.rate <= 0) return;
  const auto pause = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(1 / std::max(camera.options.rate, kLeastRate)));
  // What was late by less than a pause is made up for, so that the rate is reached.
  camera.rests_until = std::max(camera.rests_until + pause, now);
}

void Schedule::Done(Camera& camera) {
  if (camera.state == Camera::State::kReady) ReadyOf(camera).erase(&camera);
  camera.state = Camera::State::kIdle;
  // Of a backlog in order the next frame came soon after this one. Otherwise the next one is new.
  const bool has_backlog = camera.options.policy != Policy::kLatest && camera.waiting > 1;
  if (std::exchange(camera.has_frame, false) && !has_backlog) camera.waits_since_ms = 0;
  if (camera.gone) Drop(camera);
}

void Schedule::Rest(Camera& camera, TimePoint until) {
  camera.rests_until = std::max(camera.rests_until, until);
}

std::optional<TimePoint> Schedule::NextDue(TimePoint now) const {
  std::optional<TimePoint> next;
  for (const auto& [id, camera] : cameras_) {
    if (camera.state != Camera::State::kIdle || camera.rests_until <= now) continue;
    if (!next || camera.rests_until < *next) next = camera.rests_until;
  }
  return next;
}

std::size_t Depth(std::size_t threads, double frame_us) {
  const double for_a_while = static_cast<double>(threads) * kBusyUs / std::max(frame_us, 1.0);
  return std::clamp(static_cast<std::size_t>(for_a_while), threads + (threads + 1) / 2,
                    kMostInWork);
}

}  // namespace inferpool::streams
