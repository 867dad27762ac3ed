#include "worker/streams/reader.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <utility>

#include "shared/base/log.h"
#include "worker/streams/counts.h"
#include "worker/streams/onlookers.h"

namespace inferpool::streams {

using std::chrono::milliseconds;

Reader::Reader(const IngestContext& context, FrameQueue& queue, Mode mode)
    : context_(context),
      settings_(context.config.streams),
      queue_(queue),
      pauses_(std::random_device{}()),
      mode_(std::move(mode)),
      fields_(settings_.fields),
      cameras_(settings_),
      ownership_(settings_, context.board, schedule_),
      in_work_(queue, ownership_.leases(), schedule_, looks_, context.board),
      answers_(context, ownership_, schedule_, in_work_, queue, mode_),
      waiting_(fields_, ownership_.leases(), schedule_, in_work_),
      taking_(context, fields_, ownership_, schedule_, in_work_, answers_) {}

void Reader::Stop() {
  stopping_ = true;
  queue_.Wake();
}

void Reader::Run() {
  while (true) {
    if (!redis_) {
      if (stopping_) return;  // the leases end by themselves
      if (const absl::Status status = Connect(); !status.ok()) {
        Disconnect(status);
        PauseUntilNextTry();
        continue;
      }
    }
    if (const absl::Status status = Turn(); !status.ok()) {
      Disconnect(status);
      if (!stopping_) PauseUntilNextTry();
      continue;
    }
    if (left_ && in_work_.frames() == 0 && ownership_.leases().owned() == 0) return;
    Sleep();
  }
}

// ------------------------------------------------------------ Redis comes and goes

absl::Status Reader::Connect() {
  ASSIGN_OR_RETURN(redis_, ConnectLinks(settings_));
  pauses_.Reset();
  waiting_.Forget();
  taking_.LookAtAll();
  cameras_.LookSoon();
  ownership_.Arrive();
  context_.slot.streams.redis_is_up = 1;
  context_.slot.process.not_ready.Store({});
  if (std::exchange(away_was_logged_, false)) {
    log::Info("Redis is back", {{"redis", settings_.redis}});
  }
  return absl::OkStatus();
}

void Reader::Disconnect(const absl::Status& why) {
  redis_.reset();
  waiting_.Forget();
  schedule_.PutBack();
  context_.slot.streams.redis_is_up = 0;
  context_.slot.process.not_ready.Store(NotReadyText(Message(why)));
  if (!std::exchange(away_was_logged_, true)) {
    log::Warning("Redis is away", {{"redis", settings_.redis}, {"reason", Message(why)}});
  }
}

void Reader::PauseUntilNextTry() {
  const TimePoint until = Clock::now() + pauses_.Next();
  while (!stopping_ && Clock::now() < until) {
    pollfd event{.fd = queue_.fd(), .events = POLLIN, .revents = 0};
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    poll(&event, 1, static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
    queue_.Clear();
    answers_.Collect(stopping_);
  }
}

// ------------------------------------------------------------ one round

absl::Status Reader::Turn() {
  const TimePoint now = Clock::now();
  if (stopping_ && !left_) RETURN_IF_ERROR(Leave());
  if (now >= cameras_.next_look()) RETURN_IF_ERROR(LookForCameras(now));
  if (ownership_.BeatIsDue(now)) RETURN_IF_ERROR(Beat(now));
  RETURN_IF_ERROR(KeepLeases(now));
  if (answers_.SettlingIsDue(stopping_, now)) {
    answers_.Collect(stopping_);
    RETURN_IF_ERROR(answers_.Settle(redis_->work));
  }
  in_work_.SetWidth(mode_.At(now));
  answers_.TryAgain(now);
  if (stopping_) return absl::OkStatus();
  if (taking_.keeps_up()) RETURN_IF_ERROR(Wait(now));
  RETURN_IF_ERROR(taking_.TakeAll(redis_->work, waiting_, now));
  return Wait(now);
}

absl::Status Reader::LookForCameras(TimePoint now) {
  RETURN_IF_ERROR(cameras_.Look(redis_->work, now));
  cameras_.SetIn(schedule_, ownership_.leases(), context_.board);
  return ReadCounts(redis_->work, ownership_.leases(), schedule_, settings_, context_.board);
}

absl::Status Reader::Beat(TimePoint now) {
  RETURN_IF_ERROR(ownership_.Beat(redis_->work, now));
  return SeeWhoLooks(redis_->work, schedule_, looks_, now);
}

absl::Status Reader::KeepLeases(TimePoint now) {
  if (ownership_.LetsGo(now)) RETURN_IF_ERROR(StopWaiting(now));
  ASSIGN_OR_RETURN(const bool changed, ownership_.KeepLeases(redis_->work, now));
  if (changed) cameras_.SetIn(schedule_, ownership_.leases(), context_.board);
  return absl::OkStatus();
}

absl::Status Reader::Wait(TimePoint now) {
  // While there is no room, frames wait where they are.
  while (in_work_.HasRoom()) {
    ASSIGN_OR_RETURN(Received received, waiting_.Wait(*redis_, now));
    if (received.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(taking_.TakeIn(redis_->work, std::move(received), now));
  }
  return absl::OkStatus();
}

absl::Status Reader::StopWaiting(TimePoint now) {
  ASSIGN_OR_RETURN(Received received, waiting_.Stop(*redis_));
  return received.empty() ? absl::OkStatus()
                          : taking_.TakeIn(redis_->work, std::move(received), now);
}

// We take nothing more, and the others may have our shards.
absl::Status Reader::Leave() {
  left_ = true;
  answers_.TryNothingAgain();
  // What the blocking read is given now stays pending, for the next owner.
  RETURN_IF_ERROR(waiting_.Stop(*redis_).status());
  return ownership_.Leave(redis_->work);
}

void Reader::Sleep() {
  const TimePoint now = Clock::now();
  TimePoint until = std::min(cameras_.next_look(), ownership_.NextDue());
  if (in_work_.HasRoom()) {
    until = std::min(until, schedule_.NextDue(now).value_or(until));
    until = std::min(until, waiting_.NextDue(now).value_or(until));
  }
  until = std::min(until, answers_.NextDue().value_or(until));
  const auto left = std::chrono::ceil<milliseconds>(until - now);
  std::array<pollfd, 3> events{{{.fd = queue_.fd(), .events = POLLIN, .revents = 0},
                                {.fd = redis_->waits.fd(), .events = POLLIN, .revents = 0},
                                {.fd = redis_->hears.fd(), .events = POLLIN, .revents = 0}}};
  poll(events.data(), events.size(),
       static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, 60'000)));
  if (events[0].revents != 0) queue_.Clear();
  absl::Status status;
  if (events[1].revents != 0 && waiting_.is_out()) {
    auto received = waiting_.Receive(*redis_);
    status = received.status();
    if (received.ok() && received->empty()) {
      taking_.LookAtAll();
    } else if (received.ok()) {
      status = taking_.TakeIn(redis_->work, *std::move(received), Clock::now());
    }
  } else if (events[1].revents != 0) {
    status = absl::UnavailableError("Redis has closed the connection");
  }
  if (status.ok() && events[2].revents != 0) status = ownership_.Hear(redis_->hears);
  if (!status.ok()) Disconnect(status);
}

}  // namespace inferpool::streams
