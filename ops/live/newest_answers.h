// What is known of each camera by its answers: the newest one, and how many come a second. Pure;
// for one thread at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/live/answer.h"
#include "shared/base/deadline.h"

namespace inferpool::live {

class NewestAnswers {
 public:
  struct Limits {
    std::size_t cameras = 10'000;
    std::size_t bytes = std::size_t{128} << 20;  // of the answers
  };
  // A camera that has not been answered for so long is forgotten.
  static constexpr std::chrono::minutes kForgottenAfter{10};

  NewestAnswers() = default;
  explicit NewestAnswers(const Limits& limits) : limits_(limits) {}

  // Takes an answer that came at `now`; an older one than that which is known only counts. Whoever
  // was answered least recently makes room.
  void Add(std::shared_ptr<const Answer> answer, TimePoint now);

  // Takes an answer that was there before we looked, which says nothing of the rate.
  void AddOld(std::shared_ptr<const Answer> answer, TimePoint now);

  struct Known {
    std::shared_ptr<const Answer> newest = {};  // never null
    double rate = 0;                            // answers a second, over the last ten seconds
  };

  // nullptr in `newest`: nothing is known of the camera.
  Known Find(std::string_view camera, TimePoint now) const;

  // The cameras in the order of their ids.
  std::vector<Known> All(TimePoint now) const;

  // Forgets who was not answered for long.
  void Tidy(TimePoint now);

 private:
  static constexpr std::int64_t kSeconds = 10;

  struct Camera {
    std::shared_ptr<const Answer> newest;
    TimePoint at;     // of the latest answer
    TimePoint since;  // of the first that counted
    bool counts = false;
    std::int64_t second = 0;                           // that of the latest count
    std::array<std::uint32_t, kSeconds> counted = {};  // by second modulo kSeconds
  };
  using Cameras = std::map<std::string, Camera, std::less<>>;

  Camera& Put(std::shared_ptr<const Answer> answer, TimePoint now);
  void Forget(Cameras::iterator camera);
  static double Rate(const Camera& camera, TimePoint now);

  const Limits limits_ = {};
  Cameras cameras_;
  // When each was last answered; the ids are those of `cameras_`.
  std::set<std::pair<TimePoint, std::string_view>> by_age_;
  std::size_t bytes_ = 0;
};

}  // namespace inferpool::live
