#include "fcgi/pool/children.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace inferpool::fcgi {

Running& Children::Add(pid_t pid, Supervisor::Process process, std::uint32_t generation) {
  FileDescriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  return running_
      .insert_or_assign(
          pid, Running{.process = process, .pidfd = std::move(pidfd), .generation = generation})
      .first->second;
}

Running* Children::Find(Supervisor::Process process) {
  const auto found = std::ranges::find_if(
      running_, [&](const auto& entry) { return entry.second.process == process; });
  return found == running_.end() ? nullptr : &found->second;
}

std::optional<Running> Children::Take(pid_t pid) {
  const auto found = running_.find(pid);
  if (found == running_.end()) return std::nullopt;
  std::optional<Running> taken = std::move(found->second);
  running_.erase(found);
  return taken;
}

bool Children::AnyWorkerReady() const {
  return std::ranges::any_of(running_, [](const auto& entry) {
    return entry.second.process.role == kWorkerRole && entry.second.ready;
  });
}

std::string Children::NotReadyReason(Supervisor::Process process) const {
  return std::string(RowOf(process).not_ready.Load().value_or(NotReadyText()).view());
}

void Children::ClearRow(Supervisor::Process process) const {
  if (const auto slot = SlotOf(process)) {
    board_.Vacate(*slot);
  } else {
    board_.Leave(process.role, process.place);
  }
}

void Signal(const Running& running, int signal) {
  syscall(SYS_pidfd_send_signal, running.pidfd.get(), signal, nullptr, 0);
}

}  // namespace inferpool::fcgi
