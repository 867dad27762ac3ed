#include "worker/predict/faults.h"

#ifdef INFERPOOL_FAULTS

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>

namespace inferpool::predict {
namespace {

std::atomic<void*> latest_leak;

std::chrono::nanoseconds ProcessorTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

void ComputeFor(std::chrono::nanoseconds duration) {
  const auto end = ProcessorTime() + duration;
  while (ProcessorTime() < end) {
  }
}

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
  } else if (fault.starts_with("spin")) {
    ComputeFor(std::chrono::hours(1'000'000));
  } else if (fault.starts_with("busy")) {
    ComputeFor(std::chrono::seconds(2));
  }
}

}  // namespace inferpool::predict

#endif
