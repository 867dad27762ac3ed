// The events that one receiver is still to be told of, and when. Pure: it is told what happened and
// what time it is; for one thread at a time.
//
//   Order    an event that waits for its first try goes before one that failed, the older first.
//   Failure  a try in vain is repeated after a pause that doubles from one second to five minutes,
//            drawn from its upper half, so that receivers which were away are not met by all at
//            once. Meanwhile the others have their turn.
//   Bounds   an event is given up after twelve tries or an hour, and the oldest makes room when
//            there are too many.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "shared/base/deadline.h"

namespace inferpool::rules {

struct Event {
  std::string id = {};
  int shard = 0;
  std::string entry = {};  // of the event, in its shard's stream
  std::int64_t at_ms = 0;  // Unix time of the answer
  std::string json = {};
};

class DeliveryQueue {
 public:
  struct Limits {
    std::size_t events = 1'000;
    int tries = 12;
    std::chrono::milliseconds age{std::chrono::hours(1)};
    std::chrono::milliseconds first_pause{1'000};
    std::chrono::milliseconds longest_pause{std::chrono::minutes(5)};
  };

  explicit DeliveryQueue(std::uint64_t seed) : random_(seed) {}
  DeliveryQueue(std::uint64_t seed, const Limits& limits) : limits_(limits), random_(seed) {}

  // Puts the event in. Returns the one that had to make room: the oldest that is not in hand.
  std::optional<Event> Put(Event event, TimePoint now, std::int64_t now_ms);

  // Takes out those that are too old.
  std::vector<Event> TakeExpired(TimePoint now);

  // The event that is to be tried now. It is in hand until Settle or Clear; until then there is no
  // other.
  const Event* Next(TimePoint now);
  // How the try of the event in hand ended. Returns the event when it is done with, as it was taken
  // or is given up. Clear has made an end of it as well: then this does nothing.
  std::optional<Event> Settle(bool taken, TimePoint now);

  // When there is something to do: an event to try, or one that is too old.
  std::optional<TimePoint> NextDue() const;

  // Forgets all of them.
  void Clear();

  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Event event;
    TimePoint due;
    TimePoint expires;
    int tries = 0;
    bool in_hand = false;
  };
  TimePoint::duration Pause(int tries);

  const Limits limits_ = {};
  std::mt19937_64 random_;
  std::deque<Entry> entries_;  // by age
};

}  // namespace inferpool::rules
