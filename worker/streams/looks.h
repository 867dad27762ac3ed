// Which cameras somebody looks at, and so of which frames a picture shall be made. Pure; for one
// thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"

namespace inferpool::streams {

class Looks {
 public:
  static constexpr std::chrono::seconds kEvery{1};
  // How long what was said of a camera counts.
  static constexpr std::chrono::seconds kLasts{2};

  // Somebody looks at the camera, as Redis says now. Say so again within kLasts.
  void Seen(std::string_view camera, TimePoint now);

  // Whether a picture shall be made of the camera's next frame; then it counts as made.
  bool IsDue(std::string_view camera, TimePoint now);

  // Forgets whom nobody looks at any more.
  void Tidy(TimePoint now);

  std::size_t size() const { return cameras_.size(); }

 private:
  struct Look {
    TimePoint until{};
    TimePoint next{};  // picture
  };
  std::map<std::string, Look, std::less<>> cameras_;
};

}  // namespace inferpool::streams
