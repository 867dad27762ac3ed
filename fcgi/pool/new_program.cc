#include "fcgi/pool/new_program.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "fcgi/pool/child.h"

namespace inferpool::fcgi {
namespace {

constexpr std::chrono::seconds kPatience{20};
constexpr std::size_t kMaxWords = 300;

// In the child: never returns well.
int Become(const std::vector<std::string>& command_line, int output) {
  UnblockSignals();
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  Exec(command_line);
  dprintf(STDERR_FILENO, "%s", strerror(errno));  // NOLINT(concurrency-mt-unsafe): one thread
  return EXIT_FAILURE;
}

}  // namespace

std::vector<std::string> CommandLine(const std::string& program, const std::string& command,
                                     const std::string& config_file,
                                     const ConfigOverrides& overrides) {
  std::vector<std::string> line = {program, command, "-c", config_file};
  for (const std::string& text : overrides) {
    line.emplace_back("--set");
    line.push_back(text);
  }
  return line;
}

ProgramCheck::ProgramCheck(pid_t pid, FileDescriptor output, std::string program)
    : pid_(pid),
      output_(std::move(output)),
      program_(std::move(program)),
      patience_(Clock::now() + kPatience) {}

absl::StatusOr<ProgramCheck> ProgramCheck::Start(const std::vector<std::string>& command_line) {
  FileDescriptor output(memfd_create("inferpool-check", MFD_CLOEXEC));
  const pid_t pid = StartChild({.title = "check", .keep = {output.get()}},
                               [&] { return Become(command_line, output.get()); });
  if (pid < 0) {
    return absl::InternalError(
        fmt::format("cannot fork: {}", std::generic_category().message(errno)));
  }
  return ProgramCheck(pid, std::move(output), command_line.front());
}

void ProgramCheck::Tick(TimePoint now) const {
  if (now > patience_) kill(pid_, SIGKILL);
}

absl::Status ProgramCheck::Result(int wait_status) const {
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_SUCCESS) return absl::OkStatus();
  std::string words(kMaxWords, '\0');
  const ssize_t got = pread(output_.get(), words.data(), words.size(), 0);
  words.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (words.empty()) words = "it ended without a word";
  return absl::FailedPreconditionError(
      fmt::format("{} does not accept the configuration: {}", program_, words));
}

}  // namespace inferpool::fcgi
