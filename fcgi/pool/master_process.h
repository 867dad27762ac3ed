// The master's insides, in three parts that share one state: the loop (master.cc), its processes
// (master_children.cc), and changes of a running pool (master_reload.cc). For these files alone.
#pragma once

#include <json/value.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fcgi/pool/children.h"
#include "fcgi/pool/config_change.h"
#include "fcgi/pool/control.h"
#include "fcgi/pool/master.h"
#include "fcgi/pool/new_program.h"
#include "fcgi/pool/reload_log.h"
#include "fcgi/pool/supervisor.h"
#include "shared/base/file_descriptor.h"

namespace inferpool::fcgi {

inline std::string Reason(int error) {
  return std::generic_category().message(error);
}

class Master {
 public:
  explicit Master(MasterSetup setup);

  int Run();

 private:
  // Set-up and loop: master.cc.
  void OpenDescriptors();
  void Watch(int fd);
  // The pool's part of the scoreboard.
  void Publish();
  // What the master alone uses of the configuration.
  void ApplyLive();
  void Adopt(const Handover& handover);
  void CheckStateFolder();

  // Performs the actions that are due until none is: one that fails causes new ones.
  void Act();
  int PollTimeoutMs() const;
  void ReadSignals();
  void Stop(int signal);
  void ReopenLogs();
  void Tick();
  void Look(pid_t pid, int slot, Running& running, TimePoint now, bool late);
  void Quarantine(const Task& task, TimePoint now) const;
  // What the children have written into their rows.
  void ReadRows();
  void NoteReady(Running& running);

  // Starting and ending processes: master_children.cc.
  const Config& ConfigOf(std::uint32_t generation) const;
  void Perform(const Supervisor::Action& action);
  void Start(Supervisor::Process process, std::uint32_t generation, bool successor);
  int RunChild(Supervisor::Process process, const Config& config, bool successor) const;
  const Role& RoleOf(Supervisor::Process process) const {
    return setup_.roles[static_cast<std::size_t>(process.role)];
  }
  std::string TitleOf(Supervisor::Process process) const { return Title(setup_.roles, process); }
  Running& Remember(pid_t pid, Supervisor::Process process, std::uint32_t generation);
  // The planned number of requests of one worker's life; 0: no end.
  std::uint64_t Quota();
  // Also reaps orphans, which come to us when we are a container's first process.
  void Reap();
  void Ended(pid_t pid, Running& running, int status);

  // Changes of a running pool: master_reload.cc.
  void EndReload(ReloadRecord::Outcome outcome, std::string_view detail = {});
  Json::Value Refuse(std::string_view what, const std::vector<std::string>& problems);
  Json::Value Reload();
  Json::Value Apply(std::string_view what, const Config& config, bool scaled);
  void RenewQuotas(const ConfigChange& change);
  // Of a process for which its generation is given up: one that is too slow, or has just ended.
  std::string WhyNotReady(Supervisor::Process process);
  void GiveUp(const Supervisor::Action& action);
  Json::Value Scale(int workers);
  Json::Value Answer(const Json::Value& request);
  std::vector<std::string> Arguments(const char* command) const;
  void CheckNewProgram();
  void FinishCheck(int wait_status);
  void ExecNewProgram();

  MasterSetup setup_;
  const Scoreboard& board_;
  Pool& pool_;
  Config config_;  // the wanted one
  std::uint32_t generation_;
  std::uint32_t last_generation_ = generation_;
  std::uint32_t proved_generation_ = generation_;  // what a given-up one goes back to
  std::map<std::uint32_t, Config> configs_;        // by generation, while any of its processes runs
  Supervisor supervisor_;
  Children children_{board_};
  std::mt19937_64 random_{std::random_device{}()};

  FileDescriptor epoll_;
  FileDescriptor signals_;
  FileDescriptor timer_;
  std::optional<ControlSocket> control_;

  ReloadLog reload_{pool_};
  bool scaled_ = false;  // `workers` is not the file's
  bool scaled_before_ = false;
  std::string start_failure_;  // why the latest process ended that did so before it was ready
  std::optional<ProgramCheck> check_;
  TimePoint latest_tick_ = Clock::now();
  bool announced_ = false;
  bool stopping_ = false;
  bool state_is_gone_ = false;
  bool interrupted_ = false;
};

}  // namespace inferpool::fcgi
