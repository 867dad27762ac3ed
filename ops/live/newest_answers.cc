#include "ops/live/newest_answers.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace inferpool::live {
namespace {

std::int64_t SecondOf(TimePoint at) {
  return std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
}

}  // namespace

void NewestAnswers::Forget(Cameras::iterator camera) {
  by_age_.erase({camera->second.at, camera->first});
  bytes_ -= camera->second.newest->json.size();
  cameras_.erase(camera);
}

NewestAnswers::Camera& NewestAnswers::Put(std::shared_ptr<const Answer> answer, TimePoint now) {
  const auto [placed, is_new] = cameras_.try_emplace(answer->camera);
  Camera& camera = placed->second;
  if (!is_new) {
    by_age_.erase({camera.at, placed->first});
    bytes_ -= camera.newest->json.size();
  }
  if (is_new || camera.newest->id <= answer->id) camera.newest = std::move(answer);
  camera.at = now;
  bytes_ += camera.newest->json.size();
  by_age_.emplace(now, placed->first);
  while (cameras_.size() > 1 && (cameras_.size() > limits_.cameras || bytes_ > limits_.bytes)) {
    const auto oldest = cameras_.find(by_age_.begin()->second);
    Forget(oldest != placed ? oldest : cameras_.find(std::next(by_age_.begin())->second));
  }
  return camera;
}

void NewestAnswers::AddOld(std::shared_ptr<const Answer> answer, TimePoint now) {
  Put(std::move(answer), now);
}

void NewestAnswers::Add(std::shared_ptr<const Answer> answer, TimePoint now) {
  Camera& camera = Put(std::move(answer), now);
  const std::int64_t second = SecondOf(now);
  if (!camera.counts) {
    camera.counts = true;
    camera.since = now;
    camera.second = second;
  }
  // What stands in the places of the seconds in between is older than ten seconds.
  for (std::int64_t at = std::max(camera.second + 1, second - kSeconds + 1); at <= second; ++at) {
    camera.counted[static_cast<std::size_t>(at % kSeconds)] = 0;
  }
  camera.second = std::max(camera.second, second);
  ++camera.counted[static_cast<std::size_t>(second % kSeconds)];
}

double NewestAnswers::Rate(const Camera& camera, TimePoint now) {
  if (!camera.counts) return 0;
  const std::int64_t second = SecondOf(now);
  std::uint64_t count = 0;
  // The last ten seconds, of which this one has only begun.
  for (std::int64_t at = std::max<std::int64_t>(0, second - kSeconds + 1);
       at <= std::min(second, camera.second); ++at) {
    if (at > camera.second - kSeconds) {
      count += camera.counted[static_cast<std::size_t>(at % kSeconds)];
    }
  }
  const std::chrono::duration<double> this_second =
      now.time_since_epoch() - std::chrono::seconds(second);
  const std::chrono::duration<double> known = now - camera.since;
  const double span = std::min(static_cast<double>(kSeconds - 1) + this_second.count(),
                               std::max(known.count(), 1.0));
  return static_cast<double>(count) / span;
}

NewestAnswers::Known NewestAnswers::Find(std::string_view camera, TimePoint now) const {
  const auto found = cameras_.find(camera);
  if (found == cameras_.end()) return {};
  return {.newest = found->second.newest, .rate = Rate(found->second, now)};
}

std::vector<NewestAnswers::Known> NewestAnswers::All(TimePoint now) const {
  std::vector<Known> all;
  all.reserve(cameras_.size());
  for (const auto& [id, camera] : cameras_) {
    all.push_back({.newest = camera.newest, .rate = Rate(camera, now)});
  }
  return all;
}

void NewestAnswers::Tidy(TimePoint now) {
  while (!by_age_.empty() && now - by_age_.begin()->first > kForgottenAfter) {
    Forget(cameras_.find(by_age_.begin()->second));
  }
}

}  // namespace inferpool::live
