#include "ops/feeder/feeder.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "ops/feeder/ffmpeg.h"
#include "ops/feeder/outbox.h"
#include "ops/feeder/progress.h"
#include "ops/feeder/publisher.h"
#include "ops/feeder/source_loop.h"
#include "shared/base/ascii.h"
#include "shared/base/descriptor_limit.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/log.h"

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;

// Of each source: a second of a camera, which a Redis that is busy for a moment shall not cost. And
// of all together.
constexpr std::size_t kMostPictures = 32;
constexpr std::size_t kMostBytes = 256 << 20;

absl::Status ReadPassword(const std::string& path, std::string& password) {
  std::ifstream file(path, std::ios::binary);
  if (!std::getline(file, password)) {
    return InvalidArgument(
        "no password can be read from {}: is the path right, and may we read it?", path);
  }
  password = Trim(password, " \t\r");
  return absl::OkStatus();
}

// The line of progress: a second one writes over the first on a terminal, and each is a line of
// the log elsewhere.
class ProgressLine {
 public:
  ProgressLine(const Counters& counters, std::size_t cameras)
      : meter_(counters, cameras),
        is_terminal_(isatty(STDERR_FILENO) == 1),
        latest_(Clock::now()) {}

  milliseconds interval() const { return milliseconds(is_terminal_ ? 1'000 : 10'000); }
  TimePoint due() const { return latest_ + interval(); }

  void Write() {
    const TimePoint now = Clock::now();
    const Progress progress =
        meter_.Next(std::max<std::chrono::duration<double>>(now - latest_, milliseconds(1)));
    latest_ = now;
    if (is_terminal_) {
      // The cursor goes back, so that a line of the log covers it.
      fmt::print(stderr, "\r\x1b[K{}\r", LineOf(progress));
      return;
    }
    log::Info("progress", {{"cameras", progress.cameras},
                           {"away", progress.away},
                           {"frames_per_s", progress.frames_per_s},
                           {"megabytes_per_s", progress.megabytes_per_s},
                           {"dropped", progress.dropped},
                           {"reconnects", progress.reconnects}});
  }

 private:
  ProgressMeter meter_;
  const bool is_terminal_;
  TimePoint latest_;
};

}  // namespace

Exit Feed(Settings settings) {
  RaiseDescriptorLimit();
  std::signal(SIGPIPE, SIG_IGN);
  // All threads inherit the mask; the signals come out of a descriptor.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const FileDescriptor asked(signalfd(-1, &signals, SFD_CLOEXEC));
  const FileDescriptor finished(eventfd(0, EFD_CLOEXEC));
  // Its lines may have addresses with passwords; what matters of them is in our own.
  av_log_set_level(AV_LOG_QUIET);

  if (!settings.password_file.empty()) {
    if (const absl::Status status = ReadPassword(settings.password_file, settings.redis.password);
        !status.ok()) {
      log::Error("cannot start", {{"reason", Message(status)}});
      return Exit::kUsage;
    }
  }
  const std::vector<Source> sources = SourcesOf(settings.cameras);
  Outbox outbox(sources.size(), kMostPictures, kMostBytes);
  Counters counters;
  Publisher publisher(settings, sources, outbox, counters);
  ProgressLine line(counters, settings.cameras.size());
  std::atomic<bool> any_failed = false;
  absl::Status published = absl::OkStatus();
  {
    std::vector<std::jthread> readers;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      readers.emplace_back([&, i](const std::stop_token& stop) {
        const milliseconds patience = std::chrono::seconds(settings.timeout_s);
        if (!RunSource(sources[i], i, patience, outbox, counters, stop)) any_failed = true;
        outbox.Close(i);
      });
    }
    std::jthread writer([&](const std::stop_token& stop) {
      published = publisher.Run(stop);
      eventfd_write(finished.get(), 1);
    });
    log::Info("feeding", {{"cameras", settings.cameras.size()},
                          {"sources", sources.size()},
                          {"redis", settings.redis.where}});
    std::array<pollfd, 2> waits{{{.fd = asked.get(), .events = POLLIN, .revents = 0},
                                 {.fd = finished.get(), .events = POLLIN, .revents = 0}}};
    for (;;) {
      const milliseconds left =
          std::chrono::ceil<milliseconds>(Deadline(line.due()).Left(Clock::now()));
      if (poll(waits.data(), waits.size(), static_cast<int>(left.count())) > 0) break;
      if (Clock::now() >= line.due()) line.Write();
    }
    for (std::jthread& reader : readers) reader.request_stop();
    writer.request_stop();
  }
  line.Write();
  if (absl::IsInvalidArgument(published)) {
    log::Error("cannot start", {{"reason", Message(published)}});
    return Exit::kUsage;
  }
  if (!published.ok()) {
    log::Error("redis does not let us in: look at --user and --password-file",
               {{"redis", settings.redis.where}, {"reason", Message(published)}});
    return Exit::kRefused;
  }
  log::Info("stopped", {{"frames", counters.frames.load()}, {"dropped", counters.dropped.load()}});
  return any_failed ? Exit::kSourceFailed : Exit::kDone;
}

}  // namespace inferpool::feeder
