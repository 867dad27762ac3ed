#include "worker/streams/looks.h"

namespace inferpool::streams {

void Looks::Seen(std::string_view camera, TimePoint now) {
  auto found = cameras_.find(camera);
  if (found == cameras_.end()) found = cameras_.emplace(std::string(camera), Look{}).first;
  found->second.until = now + kLasts;
}

bool Looks::IsDue(std::string_view camera, TimePoint now) {
  const auto found = cameras_.find(camera);
  if (found == cameras_.end() || now >= found->second.until || now < found->second.next) {
    return false;
  }
  found->second.next = now + kEvery;
  return true;
}

void Looks::Tidy(TimePoint now) {
  std::erase_if(cameras_, [now](const auto& camera) { return now >= camera.second.until; });
}

}  // namespace inferpool::streams
