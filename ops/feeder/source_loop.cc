#include "ops/feeder/source_loop.h"

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "ops/feeder/addresses.h"
#include "ops/feeder/pacing.h"
#include "ops/feeder/picture_source.h"
#include "ops/feeder/watchdog.h"
#include "shared/base/log.h"
#include "shared/base/pauses.h"

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{500};
constexpr milliseconds kLongestPause{30'000};
// A source that gave pictures for so long was well.
constexpr std::chrono::seconds kWell{10};

std::int64_t UnixMs() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class SourceLoop {
 public:
  SourceLoop(const Source& source, std::size_t number, milliseconds patience, Outbox& outbox,
             Counters& counters, const std::stop_token& stop)
      : source_(source),
        settings_(source.settings),
        kind_(KindOf(settings_.address)),
        number_(number),
        shown_(Shown(settings_.address)),
        outbox_(outbox),
        counters_(counters),
        watchdog_(stop, patience),
        rate_(settings_.fps),
        pauses_(std::random_device()(), kFirstPause, kLongestPause) {}
  ~SourceLoop() { SetAway(false); }

  bool Run() {
    while (!watchdog_.stopped()) {
      first_picture_.reset();
      absl::Status status = Play();
      if (watchdog_.stopped()) break;
      if (status.ok()) {
        if (!settings_.loop) {
          log::Info("end of source", {{"camera", source_.cameras.front()}, {"source", shown_}});
          return true;
        }
        if (first_picture_) continue;
        status = absl::UnavailableError("there is no picture in it");
      }
      const bool comes_back =
          settings_.loop || kind_ == AddressKind::kUrl || kind_ == AddressKind::kDevice;
      if (!comes_back) {
        log::Error(
            "source failed",
            {{"camera", source_.cameras.front()}, {"source", shown_}, {"reason", Message(status)}});
        return false;
      }
      if (first_picture_ && Clock::now() - *first_picture_ > kWell) pauses_.Reset();
      const milliseconds pause = pauses_.Next();
      ReportAway(Message(status), pause);
      watchdog_.SleepUntil(Clock::now() + pause);
      ++counters_.reconnects;
    }
    return true;
  }

 private:
  // Until the end of a recording (OK), an error, or stop.
  absl::Status Play() {
    ASSIGN_OR_RETURN(const std::unique_ptr<PictureSource> pictures,
                     OpenSource(settings_, watchdog_, std::exchange(was_open_, true)));
    timeline_.BeginAnew();
    const bool live = pictures->live();
    const bool paced =
        !live && (settings_.wait == 0 || (kind_ == AddressKind::kFolder && settings_.fps > 0));
    MediaTime time{0};
    const auto wanted = [&](std::optional<MediaTime> own) {
      time = timeline_.Next(own);
      return rate_.Takes(time);
    };
    for (;;) {
      auto bytes = std::make_shared<std::string>();
      ASSIGN_OR_RETURN(const bool has_picture, pictures->Read(wanted, *bytes));
      if (!has_picture) return live ? absl::UnavailableError("its stream ended") : absl::OkStatus();
      if (paced) watchdog_.SleepUntil(pace_.Due(time, Clock::now()));
      if (watchdog_.stopped()) return absl::OkStatus();
      if (!first_picture_) ReportBack();
      const PictureSize raw = pictures->raw_size();
      Picture picture{.bytes = std::move(bytes),
                      .width = raw.width,
                      .height = raw.height,
                      .captured_ms = UnixMs()};
      if (live) {
        counters_.dropped +=
            outbox_.PutNewest(number_, std::move(picture)) * source_.cameras.size();
      } else if (!outbox_.PutPatiently(number_, std::move(picture), watchdog_.stop())) {
        return absl::OkStatus();
      }
    }
  }

  // A reason that repeats is told once.
  void ReportAway(std::string_view reason, milliseconds pause) {
    SetAway(true);
    if (reason == reason_) return;
    reason_ = reason;
    log::Warning("source away", {{"camera", source_.cameras.front()},
                                 {"cameras", source_.cameras.size()},
                                 {"source", shown_},
                                 {"reason", reason},
                                 {"pause_ms", pause.count()}});
  }

  void ReportBack() {
    first_picture_ = Clock::now();
    if (is_away_) {
      log::Info("source back", {{"camera", source_.cameras.front()}, {"source", shown_}});
    }
    SetAway(false);
    reason_.clear();
  }

  void SetAway(bool away) {
    if (away == is_away_) return;
    is_away_ = away;
    const auto cameras = static_cast<std::int64_t>(source_.cameras.size());
    counters_.away += away ? cameras : -cameras;
  }

  const Source& source_;
  const SourceSettings& settings_;
  const AddressKind kind_;
  const std::size_t number_;
  const std::string shown_;
  Outbox& outbox_;
  Counters& counters_;
  Watchdog watchdog_;
  Timeline timeline_;
  FrameRate rate_;
  Pace pace_;
  Pauses pauses_;
  std::optional<TimePoint> first_picture_;  // since it was opened
  bool was_open_ = false;
  bool is_away_ = false;
  std::string reason_;
};

}  // namespace

bool RunSource(const Source& source, std::size_t number, milliseconds patience, Outbox& outbox,
               Counters& counters, const std::stop_token& stop) {
  return SourceLoop(source, number, patience, outbox, counters, stop).Run();
}

}  // namespace inferpool::feeder
