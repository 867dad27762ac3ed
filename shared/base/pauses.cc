#include "shared/base/pauses.h"

#include <algorithm>

namespace inferpool {

Pauses::Time Pauses::Next() {
  const Time::rep most = next_.count();
  next_ = std::min(2 * next_, longest_);
  return Time(std::uniform_int_distribution<Time::rep>(most / 2, most)(random_));
}

}  // namespace inferpool
