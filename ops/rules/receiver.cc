#include "ops/rules/receiver.h"

#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "shared/base/log.h"

namespace inferpool::rules {
namespace {

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Receiver::Receiver(Options options)
    : options_(std::move(options)),
      webhook_(options_.settings.url, options_.settings.secret_file, aborting_),
      queue_(std::random_device{}()),
      thread_(&Receiver::Run, this) {}

Receiver::~Receiver() {
  Stop();
  {
    MutexLock lock(mutex_);
    changed_.wait_until(lock.native(), *stops_at_,
                        [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_; });
  }
  aborting_ = true;
  thread_.join();
}

void Receiver::Stop() {
  {
    const MutexLock lock(mutex_);
    if (!stops_at_) stops_at_ = Clock::now() + kGrace;
  }
  changed_.notify_all();
}

void Receiver::Put(Event event) {
  std::optional<Event> crowded_out;
  {
    const MutexLock lock(mutex_);
    crowded_out = queue_.Put(std::move(event), Clock::now(), NowMs());
    options_.counts.waiting = queue_.size();
  }
  changed_.notify_all();
  if (crowded_out) GiveUp(*crowded_out, RuleEvent::kCrowdedOut);
}

void Receiver::Clear() {
  const MutexLock lock(mutex_);
  queue_.Clear();
  options_.counts.waiting = 0;
}

void Receiver::GiveUp(const Event& event, RuleEvent why) {
  options_.counts.Count(why);
  options_.done(event);
}

// A line when a receiver begins to fail and when it takes events again.
void Receiver::SayHowItWent(const absl::Status& status) {
  if (!status.ok() && !std::exchange(said_failing_, true)) {
    log::Warning("a rule's receiver fails", {{"rule", options_.rule}, {"reason", Message(status)}});
  }
  if (status.ok() && std::exchange(said_failing_, false)) {
    log::Info("a rule's receiver takes events again", {{"rule", options_.rule}});
  }
}

void Receiver::Run() {
  MutexLock lock(mutex_);
  while (!stops_at_) {
    const std::vector<Event> expired = queue_.TakeExpired(Clock::now());
    options_.counts.waiting = queue_.size();
    if (!expired.empty()) {
      lock.Unlock();
      for (const Event& event : expired) GiveUp(event, RuleEvent::kGivenUp);
      lock.Lock();
      continue;
    }
    const Event* const next = queue_.Next(Clock::now());
    if (next == nullptr) {
      const std::optional<TimePoint> due = queue_.NextDue();
      if (due) {
        changed_.wait_until(lock.native(), *due);
      } else {
        changed_.wait(lock.native());
      }
      continue;
    }
    const Event event = *next;
    lock.Unlock();
    const absl::Status status = webhook_.Post(event);
    if (!aborting_) SayHowItWent(status);
    lock.Lock();
    if (!status.ok()) options_.counts.Count(RuleEvent::kFailed);
    const std::optional<Event> settled = queue_.Settle(status.ok(), Clock::now());
    options_.counts.waiting = queue_.size();
    if (!settled) continue;
    lock.Unlock();
    if (status.ok()) {
      options_.counts.Count(RuleEvent::kDelivered);
      options_.done(*settled);
    } else {
      GiveUp(*settled, RuleEvent::kGivenUp);
    }
    lock.Lock();
  }
  ended_ = true;
  changed_.notify_all();
}

}  // namespace inferpool::rules
