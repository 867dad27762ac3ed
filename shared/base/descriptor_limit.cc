#include "shared/base/descriptor_limit.h"

#include <sys/resource.h>

namespace inferpool {
namespace {

rlimit Limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit;
}

}  // namespace

std::uint64_t MaxDescriptors() {
  return Limit().rlim_max;
}

void RaiseDescriptorLimit() {
  rlimit limit = Limit();
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace inferpool
