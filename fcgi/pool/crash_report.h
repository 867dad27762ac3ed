// What the master says of a worker, or another process with a slot, that crashed: a JSON file in
// the state folder, and log lines with the stacks.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>

#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

// The newest reports are kept, as many as this.
inline constexpr std::size_t kMaxCrashReports = 64;

struct Crash {
  int slot;
  pid_t pid;
  int wait_status;  // as waitpid gives it
  // The process was killed because this thread slot's request was over its time.
  std::optional<int> stuck_thread_slot;
  // The process ran our program at our addresses, so we can name its functions.
  bool same_program;
};

// True for a crash that is a request's or the program's doing: SIGSEGV, SIGABRT, SIGBUS, SIGFPE,
// SIGILL, or a stuck thread. A SIGKILL from elsewhere is none.
bool IsReported(const Crash& crash);

// Reads what the process left in the scoreboard; call it before the slot is vacated. Writes
// `folder`/TIME-ROLE-PLACE-PID.json and logs; a report that cannot be written whole, as on a full
// disk, is not there at all, and the log says so. Returns the entry for the scoreboard's list of
// crashes.
CrashRecord ReportCrash(const Scoreboard& scoreboard, const Crash& crash, const std::string& folder,
                        TimePoint now);

}  // namespace inferpool::fcgi
