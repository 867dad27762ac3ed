// The program that the master is about to become: it must first start and accept the configuration,
// as `inferpool check`, in a process of its own and in bounded time.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"
#include "shared/config/config.h"

namespace inferpool::fcgi {

// "PROGRAM COMMAND -c FILE --set KEY=VALUE..."
std::vector<std::string> CommandLine(const std::string& program, const std::string& command,
                                     const std::string& config_file,
                                     const ConfigOverrides& overrides);

class ProgramCheck {
 public:
  // Starts the check; INTERNAL when there is no process to be had.
  static absl::StatusOr<ProgramCheck> Start(const std::vector<std::string>& command_line);

  pid_t pid() const { return pid_; }

  // Kills it when it takes too long.
  void Tick(TimePoint now) const;

  // What the process, which has ended with this wait status, says of the program: OK, or
  // FAILED_PRECONDITION with its words.
  absl::Status Result(int wait_status) const;

 private:
  ProgramCheck(pid_t pid, FileDescriptor output, std::string program);

  pid_t pid_;
  FileDescriptor output_;
  std::string program_;
  TimePoint patience_;
};

}  // namespace inferpool::fcgi
