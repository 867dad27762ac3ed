#include "modelserver/caller_watch.h"

#include <ctime>
#include <utility>

namespace inferpool::modelserver {
namespace {

// The calling thread's: what it waits on a busy machine does not count.
std::chrono::nanoseconds ProcessorTime() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

CallerWatch::CallerWatch() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}

CallerWatch::Entry::Entry(CallerWatch& watch, std::function<bool()> cancelled,
                          std::function<void()> left)
    : watch_(watch), cancelled_(std::move(cancelled)), left_(std::move(left)) {
  const std::lock_guard lock(watch_.mutex_);
  number_ = watch_.arrivals_++;
  watch_.entries_.emplace(number_, this);
  if (watch_.entries_.size() == 1) {
    watch_.came_.notify_one();
  }
}

CallerWatch::Entry::~Entry() {
  std::unique_lock lock(watch_.mutex_);
  watch_.entries_.erase(number_);
  watch_.asked_.wait(lock, [this] { return watch_.asking_ != this; });
}

void CallerWatch::Run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    came_.wait(lock, stop, [this] { return !entries_.empty(); });
    AskRound(lock);
    came_.wait_for(lock, stop, kPause, [] { return false; });
  }
}

void CallerWatch::AskRound(std::unique_lock<std::mutex>& lock) {
  const std::chrono::nanoseconds end = ProcessorTime() + kRound;
  bool gone = false;
  // Between two questions entries come and go; their numbers only grow.
  for (std::size_t left = entries_.size(); left > 0 && !entries_.empty(); --left) {
    auto next = entries_.lower_bound(next_);
    if (next == entries_.end()) {
      next = entries_.begin();
    }
    const auto [number, entry] = *next;
    next_ = number + 1;
    if (entry->gone_) {
      continue;
    }
    if (Ask(*entry, lock)) {
      gone = true;
    }
    if (!gone && ProcessorTime() >= end) {
      return;
    }
  }
}

bool CallerWatch::Ask(Entry& entry, std::unique_lock<std::mutex>& lock) {
  asking_ = &entry;
  lock.unlock();
  const bool gone = entry.cancelled_();
  if (gone) {
    entry.left_();
  }
  lock.lock();
  entry.gone_ = gone;
  asking_ = nullptr;
  asked_.notify_all();
  return gone;
}

}  // namespace inferpool::modelserver
