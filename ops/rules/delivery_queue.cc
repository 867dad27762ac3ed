#include "ops/rules/delivery_queue.h"

#include <algorithm>
#include <utility>

namespace inferpool::rules {

using std::chrono::milliseconds;

std::optional<Event> DeliveryQueue::Put(Event event, TimePoint now, std::int64_t now_ms) {
  std::optional<Event> crowded_out;
  if (entries_.size() >= limits_.events) {
    const auto oldest = std::ranges::find(entries_, false, &Entry::in_hand);
    if (oldest != entries_.end()) {
      crowded_out = std::move(oldest->event);
      entries_.erase(oldest);
    }
  }
  const milliseconds age(std::max<std::int64_t>(now_ms - event.at_ms, 0));
  entries_.push_back({.event = std::move(event), .due = now, .expires = now + limits_.age - age});
  return crowded_out;
}

std::vector<Event> DeliveryQueue::TakeExpired(TimePoint now) {
  std::vector<Event> expired;
  std::erase_if(entries_, [&](Entry& entry) {
    if (entry.in_hand || now < entry.expires) return false;
    expired.push_back(std::move(entry.event));
    return true;
  });
  return expired;
}

const Event* DeliveryQueue::Next(TimePoint now) {
  Entry* next = nullptr;
  for (Entry& entry : entries_) {
    if (now < entry.due) continue;
    if (next == nullptr || (entry.tries == 0 && next->tries > 0)) next = &entry;
  }
  if (next == nullptr) return nullptr;
  next->in_hand = true;
  return &next->event;
}

std::optional<Event> DeliveryQueue::Settle(bool taken, TimePoint now) {
  const auto entry = std::ranges::find(entries_, true, &Entry::in_hand);
  if (entry == entries_.end()) return std::nullopt;
  entry->in_hand = false;
  ++entry->tries;
  if (!taken && entry->tries < limits_.tries && now < entry->expires) {
    entry->due = now + Pause(entry->tries);
    return std::nullopt;
  }
  Event event = std::move(entry->event);
  entries_.erase(entry);
  return event;
}

std::optional<TimePoint> DeliveryQueue::NextDue() const {
  std::optional<TimePoint> next;
  for (const Entry& entry : entries_) {
    const TimePoint at = std::min(entry.due, entry.expires);
    if (!next || at < *next) next = at;
  }
  return next;
}

void DeliveryQueue::Clear() {
  entries_.clear();
}

TimePoint::duration DeliveryQueue::Pause(int tries) {
  const auto longest =
      std::min(limits_.first_pause * (1 << std::min(tries - 1, 16)), limits_.longest_pause);
  std::uniform_int_distribution<milliseconds::rep> draw(longest.count() / 2, longest.count());
  return milliseconds(draw(random_));
}

}  // namespace inferpool::rules
