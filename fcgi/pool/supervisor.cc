#include "fcgi/pool/supervisor.h"

#include <algorithm>
#include <utility>

namespace inferpool::fcgi {
namespace {

// A generation whose processes end this often before they are ready is given up.
constexpr int kMaxFailures = 3;

}  // namespace

Supervisor::Supervisor(const std::vector<Role>& roles, const Options& options) : options_(options) {
  for (const Role& role : roles) {
    RoleState state{.role = role, .places = {}, .seats = {}, .generation = role.generation};
    state.places.resize(static_cast<std::size_t>(role.places));
    state.seats.resize(static_cast<std::size_t>(role.seats));
    roles_.push_back(std::move(state));
  }
}

bool Supervisor::HasPlace(Process process) const {
  return process.role >= 0 && process.role < static_cast<int>(roles_.size()) &&
         process.place >= 0 &&
         process.place < roles_[static_cast<std::size_t>(process.role)].role.places;
}

void Supervisor::Adopt(Process process, std::uint32_t generation, bool ready, bool leaving,
                       TimePoint now) {
  RoleState& role = roles_[static_cast<std::size_t>(process.role)];
  ProcessSlot& place = role.places[static_cast<std::size_t>(process.place)];
  place = {.state = ready ? State::kReady : State::kStarting, .generation = generation};
  place.since = now;
  if (!ready) place.start_by = now + options_.start;
  const auto free = std::ranges::find(role.seats, kNone, &Seat::occupant);
  if (leaving || free == role.seats.end()) {
    Leave(place, /*in_turn=*/false);
  } else {
    free->occupant = process.place;
  }
}

Supervisor::Actions Supervisor::Due(TimePoint now) {
  Actions actions = std::exchange(pending_, {});
  const int roles = static_cast<int>(roles_.size());
  for (int role = 0; role < roles; ++role) {
    Timers(role, now, actions);
    if (!stopping_) FillSeats(role, now, actions);
  }
  // Before anything is replaced: a role that rolls last waits for the others.
  SettleGenerations();
  for (int role = 0; role < roles; ++role) {
    if (stopping_) {
      LeaveInStop(role, now);
    } else {
      ReplaceOccupants(role, now, actions);
    }
    Terminations(role, now, actions);
  }
  return actions;
}

void Supervisor::Timers(int index, TimePoint now, Actions& actions) {
  RoleState& role = roles_[static_cast<std::size_t>(index)];
  for (int i = 0; i < role.role.places; ++i) {
    ProcessSlot& place = role.places[static_cast<std::size_t>(i)];
    if (place.state == State::kEmpty || place.killed) continue;
    const Process process{index, i};
    if (place.start_by && *place.start_by <= now) {
      place.start_by.reset();
      place.killed = true;
      actions.push_back({Act::kKill, process});
      StartFailed(index, i, /*too_slow=*/true, actions);
    } else if (place.kill_at && *place.kill_at <= now) {
      place.killed = true;
      actions.push_back({Act::kKill, process});
    } else if (place.abort_at && *place.abort_at <= now) {
      place.abort_at.reset();
      place.kill_at = now + options_.abort_to_kill;
      actions.push_back({Act::kAbort, process});
    }
  }
}

void Supervisor::FillSeats(int index, TimePoint now, Actions& actions) {
  RoleState& role = roles_[static_cast<std::size_t>(index)];
  const auto wanted = static_cast<std::size_t>(role.role.seats);
  if (wanted < role.seats.size()) PreferReady(role);
  for (std::size_t i = wanted; i < role.seats.size(); ++i) {
    for (const int place : {role.seats[i].occupant, role.seats[i].successor}) {
      if (place != kNone) Leave(role.places[static_cast<std::size_t>(place)], /*in_turn=*/false);
    }
  }
  role.seats.resize(wanted);
  for (Seat& seat : role.seats) {
    if (seat.occupant == kNone) seat.occupant = std::exchange(seat.successor, kNone);
    if (seat.occupant == kNone && seat.start.until <= now && HasRoom(role)) {
      seat.occupant = Start(index, /*successor=*/false, now, actions);
    }
  }
}

// Where the old one leaves first, it is not only out of its seat but gone.
bool Supervisor::HasRoom(const RoleState& role) {
  const auto empty = std::ranges::count(role.places, State::kEmpty, &ProcessSlot::state);
  return role.role.policy.successor_first || role.role.places - empty < role.role.seats;
}

// The seats whose processes serve come first: those at the end are given up.
void Supervisor::PreferReady(RoleState& role) {
  const auto rank = [&role](const Seat& seat) {
    if (seat.occupant == kNone) return 2;
    return role.places[static_cast<std::size_t>(seat.occupant)].state == State::kReady ? 0 : 1;
  };
  std::ranges::stable_sort(role.seats, {}, rank);
}

void Supervisor::ReplaceOccupants(int index, TimePoint now, Actions& actions) {
  RoleState& role = roles_[static_cast<std::size_t>(index)];
  for (Seat& seat : role.seats) {
    if (seat.occupant == kNone || seat.successor != kNone || seat.replace.until > now) continue;
    ProcessSlot& old = role.places[static_cast<std::size_t>(seat.occupant)];
    const bool outdated = old.generation != role.generation && !MustWait(role);
    if (old.state == State::kStarting && outdated && !old.killed) {
      // It serves nobody yet, so nobody needs a successor first.
      Leave(old, /*in_turn=*/false);
      seat.occupant = kNone;
      continue;
    }
    if (old.state != State::kReady || (!old.stuck && !old.due && !outdated)) continue;
    if (!old.stuck && OnTheirWay(role) >= options_.concurrent) continue;
    if (role.role.policy.successor_first) {
      seat.successor = Start(index, /*successor=*/true, now, actions);
    } else {
      Leave(old, /*in_turn=*/true);
      seat.occupant = kNone;
    }
  }
}

bool Supervisor::MustWait(const RoleState& role) const {
  return role.role.policy.rolls_last && std::ranges::any_of(roles_, [&](const RoleState& other) {
           return !other.role.policy.rolls_last && OfOneRoll(role, other) && !AllCurrent(other);
         });
}

// Both are on their way to the same generation. The roles of one roll settle, or go back, together.
bool Supervisor::OfOneRoll(const RoleState& role, const RoleState& other) {
  return role.previous && other.previous && role.generation == other.generation;
}

bool Supervisor::AllCurrent(const RoleState& role) {
  return std::ranges::all_of(role.seats, [&](const Seat& seat) {
    if (seat.occupant == kNone) return false;
    const ProcessSlot& place = role.places[static_cast<std::size_t>(seat.occupant)];
    return place.state == State::kReady && place.generation == role.generation;
  });
}

void Supervisor::SettleGenerations() {
  for (RoleState& role : roles_) {
    const bool settled = std::ranges::all_of(roles_, [&](const RoleState& other) {
      return !OfOneRoll(role, other) || AllCurrent(other);
    });
    if (!role.previous || !settled) continue;
    const std::uint32_t generation = role.generation;
    for (RoleState& other : roles_) {
      if (other.generation == generation) other.previous.reset();
    }
  }
}

void Supervisor::LeaveInStop(int index, TimePoint now) {
  RoleState& role = roles_[static_cast<std::size_t>(index)];
  const RolePolicy& policy = role.role.policy;
  if (!EarlierTurnsHaveLeft(policy.leave_turn)) return;
  for (ProcessSlot& place : role.places) {
    if (place.state == State::kLeaving && place.kill_at) {
      place.kill_at = std::min(*place.kill_at, now + options_.drain);
    }
    if (place.state == State::kEmpty || place.state == State::kLeaving) continue;
    Leave(place, /*in_turn=*/false);
    if (policy.drain) place.kill_at = now + *policy.drain;
  }
}

void Supervisor::Terminations(int index, TimePoint now, Actions& actions) {
  RoleState& role = roles_[static_cast<std::size_t>(index)];
  for (int i = 0; i < role.role.places; ++i) {
    ProcessSlot& place = role.places[static_cast<std::size_t>(i)];
    if (place.state != State::kLeaving || place.terminated) continue;
    place.terminated = true;
    actions.push_back({Act::kTerminate, {index, i}});
    if (place.kill_at) continue;
    if (place.stuck) {
      place.abort_at = now + std::min(options_.stuck_drain, options_.drain);
    } else {
      place.kill_at = now + (stopping_ ? options_.drain : options_.leave);
    }
  }
}

int Supervisor::Start(int index, bool successor, TimePoint now, Actions& actions) {
  RoleState& role = roles_[static_cast<std::size_t>(index)];
  const auto free = std::ranges::find(role.places, State::kEmpty, &ProcessSlot::state);
  if (free == role.places.end()) return kNone;
  const std::uint32_t generation =
      role.previous && MustWait(role) ? *role.previous : role.generation;
  *free = {.state = State::kStarting, .generation = generation};
  free->since = now;
  free->start_by = now + options_.start;
  const int place = static_cast<int>(free - role.places.begin());
  actions.push_back({Act::kStart, {index, place}, generation, successor});
  return place;
}

void Supervisor::Leave(ProcessSlot& place, bool in_turn) {
  if (place.state == State::kEmpty || place.state == State::kLeaving) return;
  place.state = State::kLeaving;
  place.start_by.reset();
  place.in_turn = in_turn;
}

void Supervisor::StartFailed(int index, int place, bool too_slow, Actions& actions) {
  RoleState& role = roles_[static_cast<std::size_t>(index)];
  if (!role.previous ||
      role.places[static_cast<std::size_t>(place)].generation != role.generation) {
    return;
  }
  ++role.failures;
  if (!too_slow && role.failures < kMaxFailures) return;
  // All roles of that roll go back together: they were meant to fit each other.
  const std::uint32_t failed = role.generation;
  for (RoleState& other : roles_) {
    if (other.generation != failed || !other.previous) continue;
    other.generation = *std::exchange(other.previous, std::nullopt);
    other.failures = 0;
    for (Seat& seat : other.seats) seat.start.until = seat.replace.until = TimePoint::min();
  }
  actions.push_back({Act::kGiveUp, {index, place}, role.generation});
}

int Supervisor::OnTheirWay(const RoleState& role) const {
  if (!role.role.policy.successor_first) {
    // From its leaving until its replacement is ready, nobody serves in a seat.
    return static_cast<int>(std::ranges::count_if(role.seats, [&](const Seat& seat) {
      return seat.occupant == kNone ||
             role.places[static_cast<std::size_t>(seat.occupant)].state == State::kStarting;
    }));
  }
  const auto leaving = std::ranges::count_if(role.places, [](const ProcessSlot& place) {
    return place.state == State::kLeaving && place.in_turn && !place.stuck;
  });
  const auto arriving = std::ranges::count_if(role.seats, [&](const Seat& seat) {
    return seat.successor != kNone && seat.occupant != kNone &&
           !role.places[static_cast<std::size_t>(seat.occupant)].stuck;
  });
  return static_cast<int>(leaving + arriving);
}

Supervisor::ProcessSlot* Supervisor::Find(Process process) {
  ProcessSlot& place = roles_[static_cast<std::size_t>(process.role)]
                           .places[static_cast<std::size_t>(process.place)];
  return place.state == State::kEmpty ? nullptr : &place;
}

void Supervisor::Ready(Process process, TimePoint) {
  ProcessSlot* place = Find(process);
  if (place == nullptr || place->state != State::kStarting || place->killed) return;
  place->state = State::kReady;
  place->start_by.reset();
  RoleState& role = roles_[static_cast<std::size_t>(process.role)];
  if (place->generation == role.generation) role.failures = 0;
  const auto seat = std::ranges::find(role.seats, process.place, &Seat::successor);
  if (seat == role.seats.end()) return;
  seat->replace = {};
  const int old = std::exchange(seat->occupant, std::exchange(seat->successor, kNone));
  if (old != kNone) Leave(role.places[static_cast<std::size_t>(old)], /*in_turn=*/true);
}

void Supervisor::Replace(Process process) {
  if (ProcessSlot* place = Find(process)) place->due = true;
}

void Supervisor::Stuck(Process process, TimePoint now) {
  ProcessSlot* place = Find(process);
  if (place == nullptr || place->stuck) return;
  place->stuck = true;
  if (place->state == State::kLeaving && place->kill_at) {
    // It was leaving anyway, with more time than it gets now.
    place->abort_at = std::min(*place->kill_at, now + options_.stuck_drain);
    place->kill_at.reset();
  }
}

void Supervisor::NothingElseInWork(Process process, TimePoint now) {
  ProcessSlot* place = Find(process);
  if (place != nullptr && place->stuck && place->abort_at) place->abort_at = now;
}

void Supervisor::Ended(Process process, bool killed, TimePoint now) {
  if (Find(process) == nullptr) return;
  RoleState& role = roles_[static_cast<std::size_t>(process.role)];
  ProcessSlot& place = role.places[static_cast<std::size_t>(process.place)];
  if (!stopping_ && place.state == State::kStarting && !place.killed && !killed) {
    StartFailed(process.role, process.place, /*too_slow=*/false, pending_);
  }
  const ProcessSlot was = std::exchange(place, ProcessSlot{});
  const auto seat = std::ranges::find_if(role.seats, [&](const Seat& candidate) {
    return candidate.occupant == process.place || candidate.successor == process.place;
  });
  if (seat == role.seats.end()) return;  // it was leaving
  const bool occupant = seat->occupant == process.place;
  (occupant ? seat->occupant : seat->successor) = kNone;
  Backoff& backoff = occupant ? seat->start : seat->replace;
  backoff = NextTry(role, was, backoff, now);
}

Supervisor::Backoff Supervisor::NextTry(RoleState& role, const ProcessSlot& was,
                                        const Backoff& before, TimePoint now) const {
  // That one of another generation ended says nothing of those that follow it.
  if (was.generation != role.generation && !MustWait(role)) return {.pause = {}, .until = now};
  const RolePolicy& policy = role.role.policy;
  if (was.state == State::kReady && now - was.since >= policy.serves_after) {
    return {.pause = {},
            .until = role.restarts.Take(policy.restart_every, policy.restart_burst, now)};
  }
  const auto pause = before.pause.count() == 0 ? options_.backoff
                                               : std::min(before.pause * 2, options_.most_backoff);
  return {.pause = pause, .until = now + pause};
}

void Supervisor::SetSeats(int index, int seats) {
  Role& role = roles_[static_cast<std::size_t>(index)].role;
  role.seats = std::clamp(seats, 0, role.places);
}

void Supervisor::Roll(const std::vector<int>& roles, std::uint32_t generation) {
  for (const int index : roles) {
    RoleState& role = roles_[static_cast<std::size_t>(index)];
    const bool proved = std::ranges::any_of(role.places, [&](const ProcessSlot& place) {
      return place.state == State::kReady && place.generation == role.generation;
    });
    if (!role.previous || proved) role.previous = role.generation;
    role.generation = generation;
    role.failures = 0;
    for (Seat& seat : role.seats) seat.start.until = seat.replace.until = TimePoint::min();
  }
}

void Supervisor::Stop(TimePoint) {
  stopping_ = true;
}

void Supervisor::StopNow(TimePoint now) {
  stopping_ = true;
  for (RoleState& role : roles_) {
    for (ProcessSlot& place : role.places) {
      if (place.state == State::kEmpty) continue;
      place.state = State::kLeaving;
      place.terminated = true;
      place.start_by.reset();
      place.abort_at.reset();
      place.kill_at = now;
    }
  }
}

std::optional<TimePoint> Supervisor::NextDue(TimePoint now) const {
  std::optional<TimePoint> next;
  const auto consider = [&](const std::optional<TimePoint>& at) {
    if (at && *at > now && (!next || *at < *next)) next = at;
  };
  for (const RoleState& role : roles_) {
    for (const Seat& seat : role.seats) {
      if (stopping_) continue;
      consider(seat.start.until);
      consider(seat.replace.until);
    }
    for (const ProcessSlot& place : role.places) {
      if (place.state == State::kEmpty || place.killed) continue;
      consider(place.start_by);
      consider(place.abort_at);
      consider(place.kill_at);
    }
  }
  return next;
}

bool Supervisor::Settled() const {
  return std::ranges::all_of(roles_, [](const RoleState& role) {
    return role.seats.size() == static_cast<std::size_t>(role.role.seats) && AllCurrent(role);
  });
}

int Supervisor::BackingOff(int index, TimePoint now) const {
  const RoleState& role = roles_[static_cast<std::size_t>(index)];
  return static_cast<int>(std::ranges::count_if(role.seats, [&](const Seat& seat) {
    return seat.occupant == kNone && seat.start.until > now;
  }));
}

bool Supervisor::Done() const {
  return stopping_ && std::ranges::all_of(roles_, [](const RoleState& role) {
           return std::ranges::all_of(
               role.places, [](const ProcessSlot& place) { return place.state == State::kEmpty; });
         });
}

bool Supervisor::EarlierTurnsHaveLeft(int turn) const {
  return std::ranges::all_of(roles_, [turn](const RoleState& role) {
    return role.role.policy.leave_turn >= turn ||
           std::ranges::all_of(
               role.places, [](const ProcessSlot& place) { return place.state == State::kEmpty; });
  });
}

}  // namespace inferpool::fcgi
