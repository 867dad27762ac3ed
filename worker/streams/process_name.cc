#include "worker/streams/process_name.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <random>
#include <system_error>

#include "shared/redis/names.h"

namespace inferpool::streams {
namespace {

constexpr std::string_view kBeforeSetup = ":=";

// What the names of all processes begin with that see each other's pids: those of one boot of one
// host, in one namespace.
std::string MakePrefix() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  std::error_code error;
  const std::string pids = std::filesystem::read_symlink("/proc/self/ns/pid", error);
  return fmt::format("{}:{:016x}:", HostName(), PairHash(0, boot + pids));
}

const std::string& Prefix() {
  static const std::string prefix = MakePrefix();
  return prefix;
}

}  // namespace

std::string HostName() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return host.data();
}

std::string MakeProcessName(std::string_view setup) {
  std::random_device random;
  return fmt::format("{}{}:{:08x}{:08x}{}{:016x}", Prefix(), getpid(), random(), random(),
                     kBeforeSetup, PairHash(0, setup));
}

bool AreSetUpDifferently(std::string_view name, std::string_view other) {
  const std::size_t at = name.rfind(kBeforeSetup);
  const std::size_t other_at = other.rfind(kBeforeSetup);
  return at != name.npos && other_at != other.npos && name.substr(at) != other.substr(other_at);
}

bool IsOfDeadProcess(std::string_view name) {
  if (!name.starts_with(Prefix())) return false;
  name.remove_prefix(Prefix().size());
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.begin(), name.end(), pid);
  if (error != std::errc() || pid <= 0 || end == name.end() || *end != ':') return false;
  return kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace inferpool::streams
