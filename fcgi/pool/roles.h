// The kinds of processes that a pool is made of, as one table. The master, the supervisor, the
// scoreboard and what reads it go through the table, so a new kind of process is a new row of it.
//
// The workers are its first row. What else works on pictures has slots of the scoreboard as they
// have, and with them recycling, the watch for stuck threads and crash reports.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fcgi/pool/supervisor.h"
#include "shared/board/master_wakeup.h"
#include "shared/board/scoreboard.h"
#include "shared/config/config.h"
#include "shared/config/config_keys.h"

namespace inferpool::fcgi {

// What a process of the pool is started with.
struct ChildContext {
  const Config& config;  // of its generation
  const Scoreboard& scoreboard;
  const MasterWakeup& wakeup;
  int listener;
  int sidecar_listener;
  int place;
  int slot;        // -1: the process has none
  bool successor;  // it replaces one that still serves, so it must be able to serve as well
  ProcessRow& row;

  // Tells the master that the process is ready. Workers do not call it: Serve does it for them.
  void SayReady() const;
};

struct Role {
  // As ps, the log, `inferpool status` and the metrics show it. At most 23 characters.
  std::string_view name;
  int (*seats)(const Config&);  // how many processes it shall have
  // The most that `seats` may ever ask for, which has its rows in the scoreboard. The processes of
  // a role with more than one have numbers: "worker 3".
  int max_seats = 1;
  // Its processes work on pictures: they have slots in the scoreboard with a slot for each thread,
  // and are watched, recycled and reported on when they crash, as the workers are.
  bool has_slots = false;
  // A reload replaces the processes when a key with one of these effects has changed.
  std::vector<ReloadEffect> replaced_by;
  // `run` executes another program, which does not know of the pool. It counts as ready from its
  // start, and stays when the pool's own program is replaced.
  bool other_program = false;
  RolePolicy policy{};
  // The life of a process; returns its exit status. The signals that the master handles are blocked
  // when it is called.
  std::function<int(const ChildContext&)> run;
};

// A role is known by its place in the table, and its processes by their rows in the scoreboard,
// also to the next program that a master becomes: new ones belong at the end, and whoever gives a
// role more or fewer rows raises the scoreboard's layout version. The workers are the first
// (kWorkerRole).
using RoleTable = std::vector<Role>;

// "worker 3", "sidecar".
std::string Title(const RoleTable& roles, Supervisor::Process process);

// The processes of the role that there may be at once: those of all seats and, where it is started
// first, a successor. Workers have `worker_slots`.
int Places(const RoleTable& roles, int role, int worker_slots);

// The roles as the supervisor begins with them, all of one generation.
std::vector<Supervisor::Role> SupervisedRoles(const RoleTable& roles, const Config& config,
                                              int worker_slots, std::uint32_t generation);

// The roles whose processes run this program, so that a new one replaces them.
std::vector<int> RolesOfThisProgram(const RoleTable& roles);

// Names the roles in the scoreboard and gives their processes rows there.
void SetRoles(const RoleTable& roles, const Scoreboard& board);

}  // namespace inferpool::fcgi
