#include "fcgi/pool/roles.h"

#include <fmt/format.h>

namespace inferpool::fcgi {

void ChildContext::SayReady() const {
  row.state.store(ProcessState::kReady, std::memory_order_release);
  wakeup.Wake();
}

std::string Title(const RoleTable& roles, Supervisor::Process process) {
  const Role& role = roles[static_cast<std::size_t>(process.role)];
  return role.max_seats == 1 ? std::string(role.name)
                             : fmt::format("{} {}", role.name, process.place);
}

int Places(const RoleTable& roles, int index, int worker_slots) {
  if (index == kWorkerRole) return worker_slots;
  const Role& role = roles[static_cast<std::size_t>(index)];
  return role.max_seats + (role.policy.successor_first ? 1 : 0);
}

std::vector<Supervisor::Role> SupervisedRoles(const RoleTable& roles, const Config& config,
                                              int worker_slots, std::uint32_t generation) {
  std::vector<Supervisor::Role> supervised;
  for (int i = 0; i < static_cast<int>(roles.size()); ++i) {
    const Role& role = roles[static_cast<std::size_t>(i)];
    supervised.push_back({.seats = role.seats(config),
                          .places = Places(roles, i, worker_slots),
                          .generation = generation,
                          .policy = role.policy});
  }
  return supervised;
}

std::vector<int> RolesOfThisProgram(const RoleTable& roles) {
  std::vector<int> of_this_program;
  for (int i = 0; i < static_cast<int>(roles.size()); ++i) {
    if (!roles[static_cast<std::size_t>(i)].other_program) of_this_program.push_back(i);
  }
  return of_this_program;
}

void SetRoles(const RoleTable& roles, const Scoreboard& board) {
  std::vector<Scoreboard::RoleRoom> rooms;
  rooms.reserve(roles.size());
  for (int i = 0; i < static_cast<int>(roles.size()); ++i) {
    const Role& role = roles[static_cast<std::size_t>(i)];
    const int places = i == kWorkerRole ? 0 : Places(roles, i, /*worker_slots=*/0);
    rooms.push_back({.name = role.name,
                     .rows = role.has_slots ? 0 : places,
                     .slots = role.has_slots ? places : 0});
  }
  board.SetRoles(rooms);
}

}  // namespace inferpool::fcgi
