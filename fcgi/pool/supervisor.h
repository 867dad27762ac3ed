// Decides which processes run: who is started, asked to leave and killed, and when. Pure: it is
// told what happened and what time it is, and answers with what to do. The master does it.
//
// A role (the workers, the sidecar, the model server) has `seats`, the processes that it shall
// have, and `places`, the processes that may exist at once: rows of the scoreboard. A seat has an
// occupant and, while that one is being replaced, a successor; both sit at a place. A process that
// was asked to leave has lost its seat but keeps its place until it has ended.
//
//   Crash        one that served is started again at once. Each role has a budget of such starts:
//                `restart_burst` saved up and one more every `restart_every`. When it is used up, a
//                seat stays empty until the budget has earned its start; so a role costs a bounded
//                number of starts a second whatever kills its processes, and no role waits for
//                another.
//   Back-off     one that ended before it served does not come up. Its seat stays empty for a
//                time that doubles from `backoff` to `most_backoff` with every such end, and begins
//                again after one that served.
//   Replacement  (recycling, a new generation) the successor is started, gets ready, takes the
//                seat, and only then the old one is asked to leave. At most `concurrent` of a role
//                are on their way at once, the leaving ones included.
//   Stuck        the same, but out of turn; the old one has a shorter time to leave, then it is
//                aborted, which writes its threads' stacks, and then killed.
//   Generation   a roll replaces all processes of a role by ones of a new generation. When one of
//                them does not get ready in time, or three end before they are, the generation is
//                given up: the old one stays, and what was already replaced is rolled back.
//   Stop         role by role in the order of their `leave_turn`: first those that serve, then
//                those which the first still need.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "fcgi/pool/restart_budget.h"
#include "shared/base/deadline.h"

namespace inferpool::fcgi {

// How the processes of a role come and go.
struct RolePolicy {
  bool successor_first = true;  // otherwise the old one leaves first, as both cannot run at once
  // When the pool stops, a role's processes are asked to leave once those of all lower turns have.
  int leave_turn = 0;
  // What a process then has to leave; none: Supervisor::Options::drain.
  std::optional<std::chrono::milliseconds> drain{};
  bool rolls_last = false;  // after the roles of the same generation that do not
  // A process has served when it is ready and has lived this long. For a role whose processes
  // cannot say that they are ready, and count as such from their start.
  std::chrono::milliseconds serves_after{0};
  // Ten a second: a worker takes less than 100 ms of a processor to come up, so the restarts of a
  // role take one core at most.
  std::chrono::milliseconds restart_every{100};
  int restart_burst = 10;
};

class Supervisor {
 public:
  struct Role {
    int seats;
    int places;
    std::uint32_t generation;
    RolePolicy policy;
  };

  struct Options {
    std::chrono::milliseconds start{10'000};  // from its start until it is ready
    std::chrono::milliseconds leave{30'000};  // for one that was replaced
    std::chrono::milliseconds drain{30'000};  // when the pool stops
    std::chrono::milliseconds stuck_drain{5'000};
    std::chrono::milliseconds abort_to_kill{2'000};
    std::chrono::milliseconds backoff{100};
    std::chrono::milliseconds most_backoff{10'000};
    int concurrent = 1;
  };

  struct Process {
    int role;
    int place;
    bool operator==(const Process&) const = default;
  };

  enum class Act {
    kStart,      // `generation`, `successor`: it replaces one that still runs
    kTerminate,  // ask it to drain and leave
    kAbort,      // make it write its stacks and die
    kKill,
    kGiveUp,  // the role went back to the generation named; `process` could not become ready
  };

  struct Action {
    Act act;
    Process process;
    std::uint32_t generation = 0;
    bool successor = false;
    bool operator==(const Action&) const = default;
  };
  using Actions = std::vector<Action>;

  Supervisor(const std::vector<Role>& roles, const Options& options);

  // Whether there is such a place at all.
  bool HasPlace(Process process) const;

  // A process that runs already, from before this supervisor was: it takes a free seat, or is
  // leaving when there is none or it was told to.
  void Adopt(Process process, std::uint32_t generation, bool ready, bool leaving, TimePoint now);

  // What is due at `now`. Call it at the start, after each event and at NextDue, and again until it
  // is empty.
  Actions Due(TimePoint now);

  // Events. Of processes that do not run (any more) they are ignored.
  void Ready(Process process, TimePoint now);
  void Replace(Process process);
  void Stuck(Process process, TimePoint now);
  // The stuck process has nothing left but what is stuck: no reason to wait.
  void NothingElseInWork(Process process, TimePoint now);
  // `killed`: by somebody's SIGKILL, which says nothing of its generation.
  void Ended(Process process, bool killed, TimePoint now);

  // Wishes.
  void SetSeats(int role, int seats);
  void SetOptions(const Options& options) { options_ = options; }
  void Roll(const std::vector<int>& roles, std::uint32_t generation);
  void Stop(TimePoint now);
  void StopNow(TimePoint now);

  // When Due has something to say even if nothing happens; none: never.
  std::optional<TimePoint> NextDue(TimePoint now) const;

  // Every seat has a ready process of the wanted generation.
  bool Settled() const;

  // Seats of the role that are empty because their processes ended, and wait for their back-off or
  // for the budget.
  int BackingOff(int role, TimePoint now) const;

  // Stop was called and no process is left.
  bool Done() const;

 private:
  enum class State { kEmpty, kStarting, kReady, kLeaving };
  static constexpr int kNone = -1;

  struct ProcessSlot {
    State state = State::kEmpty;
    std::uint32_t generation = 0;
    TimePoint since{};  // start
    bool due = false;   // shall be replaced
    bool stuck = false;
    bool in_turn = false;     // leaves because it was replaced: counts against `concurrent`
    bool terminated = false;  // kTerminate was said
    bool killed = false;
    std::optional<TimePoint> start_by{};
    std::optional<TimePoint> abort_at{};
    std::optional<TimePoint> kill_at{};
  };

  // When the next try may be made.
  struct Backoff {
    std::chrono::milliseconds pause{0};  // of the latest failure to come up; 0: none
    TimePoint until = TimePoint::min();
  };

  struct Seat {
    int occupant = kNone;   // a place
    int successor = kNone;  // a place
    Backoff start;          // of occupants that ended
    Backoff replace;        // of successors that did not get ready, while the occupant is well
  };

  struct RoleState {
    Role role;
    std::vector<ProcessSlot> places;
    std::vector<Seat> seats;
    std::uint32_t generation;                 // the wanted one
    std::optional<std::uint32_t> previous{};  // to go back to, while rolling
    int failures = 0;                         // of the generation, before a process was ready
    RestartBudget restarts{};
  };

  void Timers(int role, TimePoint now, Actions& actions);
  static void PreferReady(RoleState& role);
  static bool HasRoom(const RoleState& role);
  void FillSeats(int role, TimePoint now, Actions& actions);
  void ReplaceOccupants(int role, TimePoint now, Actions& actions);
  bool MustWait(const RoleState& role) const;
  static bool AllCurrent(const RoleState& role);
  static bool OfOneRoll(const RoleState& role, const RoleState& other);
  void SettleGenerations();
  void LeaveInStop(int role, TimePoint now);
  void Terminations(int role, TimePoint now, Actions& actions);

  // The next try for the seat of a process that has ended.
  Backoff NextTry(RoleState& role, const ProcessSlot& was, const Backoff& before,
                  TimePoint now) const;

  // Starts a process; its place, or kNone when all are taken.
  int Start(int role, bool successor, TimePoint now, Actions& actions);
  void Leave(ProcessSlot& place, bool in_turn);
  void StartFailed(int role, int place, bool too_slow, Actions& actions);
  int OnTheirWay(const RoleState& role) const;
  bool EarlierTurnsHaveLeft(int turn) const;
  ProcessSlot* Find(Process process);

  std::vector<RoleState> roles_;
  Options options_;
  bool stopping_ = false;
  Actions pending_;  // made by events, said by the next Due
};

}  // namespace inferpool::fcgi
