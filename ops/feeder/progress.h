// What the feeder has done: counted by all threads, told in a line.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace inferpool::feeder {

// Thread safe. A picture that goes to several cameras counts for each of them.
struct Counters {
  std::atomic<std::uint64_t> frames = 0;      // that Redis took
  std::atomic<std::uint64_t> bytes = 0;       // of those
  std::atomic<std::uint64_t> dropped = 0;     // had no room, or Redis refused them
  std::atomic<std::uint64_t> reconnects = 0;  // of sources and of Redis
  std::atomic<std::int64_t> away = 0;         // cameras whose source is away now
};

// The progress since the line before.
struct Progress {
  std::size_t cameras = 0;
  std::int64_t away = 0;
  double frames_per_s = 0;
  double megabytes_per_s = 0;
  std::uint64_t dropped = 0;     // since the start
  std::uint64_t reconnects = 0;  // since the start
};

class ProgressMeter {
 public:
  ProgressMeter(const Counters& counters, std::size_t cameras)
      : counters_(counters), cameras_(cameras) {}

  // `passed`: since the call before.
  Progress Next(std::chrono::duration<double> passed) {
    const std::uint64_t frames = counters_.frames;
    const std::uint64_t bytes = counters_.bytes;
    const Progress progress{
        .cameras = cameras_,
        .away = counters_.away,
        .frames_per_s = static_cast<double>(frames - frames_) / passed.count(),
        .megabytes_per_s = static_cast<double>(bytes - bytes_) / 1e6 / passed.count(),
        .dropped = counters_.dropped,
        .reconnects = counters_.reconnects,
    };
    frames_ = frames;
    bytes_ = bytes;
    return progress;
  }

 private:
  const Counters& counters_;
  const std::size_t cameras_;
  std::uint64_t frames_ = 0;
  std::uint64_t bytes_ = 0;
};

inline std::string LineOf(const Progress& progress) {
  return fmt::format("{} cameras, {} away, {:.1f} frames/s, {:.2f} MB/s, {} dropped, {} reconnects",
                     progress.cameras, progress.away, progress.frames_per_s,
                     progress.megabytes_per_s, progress.dropped, progress.reconnects);
}

}  // namespace inferpool::feeder
