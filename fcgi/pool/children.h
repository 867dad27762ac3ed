// The processes of a pool that run now, and their rows of the scoreboard. The master's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "fcgi/pool/supervisor.h"
#include "fcgi/pool/worker_check.h"
#include "shared/base/file_descriptor.h"
#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

struct Running {
  Supervisor::Process process;
  FileDescriptor pidfd;  // readable when it has ended
  std::uint32_t generation;
  bool ready = false;
  bool leaving = false;  // it was asked to
  // The thread slot of a request that was over its time, when it had one.
  std::optional<int> stuck_thread_slot{};
  bool was_stopped = false;        // when that was noticed
  bool same_program = true;        // forked by this program, not by the one before
  WorkerStepWatch thread_slots{};  // a worker's
};

class Children {
 public:
  explicit Children(const Scoreboard& board) : board_(board) {}

  Running& Add(pid_t pid, Supervisor::Process process, std::uint32_t generation);

  // None when there is no such process (any more).
  Running* Find(Supervisor::Process process);
  std::optional<Running> Take(pid_t pid);

  // By pid.
  std::map<pid_t, Running>& all() { return running_; }
  const std::map<pid_t, Running>& all() const { return running_; }

  bool AnyWorkerReady() const;

  ProcessRow& RowOf(Supervisor::Process process) const {
    return board_.process(process.role, process.place);
  }
  // Its slot; nullopt for a process that has only a row.
  std::optional<int> SlotOf(Supervisor::Process process) const {
    return board_.SlotOf(process.role, process.place);
  }
  // What the process has said why it is not ready; empty when it has said nothing.
  std::string NotReadyReason(Supervisor::Process process) const;
  // The row of a process that has ended.
  void ClearRow(Supervisor::Process process) const;

 private:
  const Scoreboard& board_;
  std::map<pid_t, Running> running_;
};

// Reaches that very process, even if its number had been given to another one.
void Signal(const Running& running, int signal);

}  // namespace inferpool::fcgi
