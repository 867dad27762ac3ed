// The pid file of a state folder: at most one master runs from the folder, and others find it. The
// pid in the file counts only while its process holds the lock on the file. The kernel drops the
// lock when the process ends, so a pid that is left over, or reused, is never taken for a master.
#pragma once

#include <sys/types.h>

#include <string>

#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"

namespace inferpool::fcgi {

// In the state folder.
std::string PidPath(const std::string& state);

// Removes the file at the end of its life, in the process that took it. Children must close the
// descriptor, or the lock would outlive the master.
class PidFile {
 public:
  // Holds nothing.
  PidFile() = default;

  // Locks the file and writes our pid into it. ALREADY_EXISTS when another master holds it,
  // INTERNAL when it cannot be written; no file is left then.
  static absl::StatusOr<PidFile> Take(const std::string& state);

  // The lock survives execve() with its descriptor: the same process goes on holding it.
  static PidFile Inherit(const std::string& state, FileDescriptor locked);

  ~PidFile();
  PidFile(PidFile&& other) noexcept = default;
  PidFile& operator=(PidFile&&) = delete;

  // -1 when nothing is held.
  int fd() const { return file_.get(); }

  // False when the state folder, or the file in it, was moved or removed. True when nothing is
  // held.
  bool InPlace() const;

 private:
  PidFile(std::string path, FileDescriptor file);

  std::string path_;
  FileDescriptor file_;
  pid_t owner_ = 0;
};

// The pid of the master that runs from the state folder. UNAVAILABLE when none does,
// PERMISSION_DENIED when we may not look.
absl::StatusOr<pid_t> FindMaster(const std::string& state);

}  // namespace inferpool::fcgi
