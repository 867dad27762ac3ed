// Decides which children run: who is started, asked to leave and killed, and when. Pure: it is told
// what happened and what time it is, and answers with what to do. The master does it.
//
// A child that ends is started again: at once when it ended as planned, after a back-off when it
// crashed. The back-off is each child's own, doubles with every crash up to a bound, and starts
// anew after a good minute.
//
// Stopping goes in two steps, because a draining worker still needs the model server and the load
// balancer still asks the sidecar: the children marked `first_to_leave` are asked first and have
// `drain`; the others follow, with `last_drain`.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <vector>

#include "shared/deadline.h"

namespace inferpool::fcgi {

class Supervisor {
 public:
  struct Options {
    std::chrono::seconds drain{30};
    std::chrono::seconds last_drain{5};
    std::chrono::milliseconds backoff{100};
    std::chrono::milliseconds most_backoff{10'000};
    std::chrono::seconds good{60};  // a child that lived this long starts with no back-off
  };

  enum class Act { kStart, kTerminate, kKill };

  struct Action {
    Act act;
    std::size_t child;
    bool operator==(const Action&) const = default;
  };
  using Actions = std::vector<Action>;

  // One entry a child: whether it leaves with the first when all stop.
  Supervisor(std::vector<bool> first_to_leave, const Options& options);

  // What is due at `now`; call it at the start, after each event and at NextDue.
  Actions Due(TimePoint now);

  // A child has ended. `planned`: it left by itself, or because it was asked to.
  void Ended(std::size_t child, bool planned, TimePoint now);

  // Everything shall stop; once is enough.
  void Stop(TimePoint now);

  // Everything shall stop without waiting.
  void StopNow(TimePoint now);

  // When Due has something to say even if nothing happens; none: never.
  std::optional<TimePoint> NextDue() const;

  // Stop was called and no child is left.
  bool Done() const;

 private:
  struct Child {
    bool first_to_leave = false;
    bool running = false;
    bool terminated = false;  // asked to leave
    bool killed = false;
    TimePoint started{};
    std::chrono::milliseconds backoff{0};  // of the latest crash; 0: none
    std::optional<TimePoint> start_at{};   // none: it shall not run
    std::optional<TimePoint> kill_at{};
  };

  bool FirstHaveLeft() const;

  std::vector<Child> children_;
  Options options_;
  bool stopping_ = false;
};

}  // namespace inferpool::fcgi
