#include "shared/base/perturb.h"

#include <cstdlib>
#include <cstring>

namespace inferpool {

void Perturb(std::span<std::byte> memory) {
  static const int perturb = [] {
    const char* text = std::getenv("MALLOC_PERTURB_");  // NOLINT(concurrency-mt-unsafe)
    return text == nullptr ? 0 : static_cast<int>(std::strtol(text, nullptr, 10) & 0xff);
  }();
  if (perturb != 0 && !memory.empty()) {
    std::memset(memory.data(), ~perturb & 0xff, memory.size());
  }
}

}  // namespace inferpool
