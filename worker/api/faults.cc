#include "worker/api/faults.h"

#ifdef INFERPOOL_FAULTS

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace inferpool::api {
namespace {

std::atomic<void*> latest_leak;

}  // namespace

void InjectFault(std::string_view picture) {
  constexpr std::string_view kMark = "inferpool-fault:";
  const std::string_view end =
      picture.substr(picture.size() - std::min<std::size_t>(picture.size(), 64));
  const std::size_t mark = end.rfind(kMark);
  if (mark == std::string_view::npos) return;
  const std::string_view fault = end.substr(mark + kMark.size());
  if (fault.starts_with("crash")) {
    volatile const int* nowhere = nullptr;
    [[maybe_unused]] const int value = *nowhere;
  } else if (fault.starts_with("abort")) {
    std::abort();
  } else if (fault.starts_with("hang")) {
    while (true) std::this_thread::sleep_for(std::chrono::hours(1));
  } else if (fault.starts_with("leak")) {
    constexpr std::size_t kBytes = std::size_t{64} * 1024 * 1024;
    latest_leak = std::malloc(kBytes);
    if (void* leaked = latest_leak) std::memset(leaked, 1, kBytes);
  } else if (fault.starts_with("slow")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

}  // namespace inferpool::api

#endif
