#include "shared/base/processors.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

namespace inferpool {
namespace {

enum class Version { kOne, kTwo };

// A hierarchy of control groups as it is mounted: its group `root` lies at the folder `point`.
struct Mount {
  Version version;
  std::string root;
  std::string point;
};

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool Has(std::string_view list, std::string_view word) {
  return std::ranges::count(Split(list, ','), word) > 0;
}

// A path of mountinfo, in which "\040" is a blank (proc(5)).
std::string Unescaped(std::string_view text) {
  constexpr std::size_t kDigits = 3;
  std::string path;
  while (!text.empty()) {
    unsigned code = 0;
    if (text.front() == '\\' && text.size() > kDigits &&
        std::from_chars(text.data() + 1, text.data() + 1 + kDigits, code, 8).ptr ==
            text.data() + 1 + kDigits) {
      path += static_cast<char>(code);
      text.remove_prefix(1 + kDigits);
    } else {
      path += text.front();
      text.remove_prefix(1);
    }
  }
  return path;
}

// "36 35 98:0 ROOT POINT OPTIONS [more ...] - TYPE SOURCE OPTIONS" (proc(5)).
std::optional<Mount> ReadMount(std::string_view line) {
  constexpr std::size_t kRoot = 3;
  constexpr std::size_t kPoint = 4;
  const std::size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return std::nullopt;
  const auto before = Split(line.substr(0, dash), ' ');
  const auto after = Split(line.substr(dash + 3), ' ');
  if (before.size() <= kPoint || after.size() < 3) return std::nullopt;
  const bool two = after[0] == "cgroup2";
  if (!two && (after[0] != "cgroup" || !Has(after[2], "cpu"))) return std::nullopt;
  return Mount{two ? Version::kTwo : Version::kOne, Unescaped(before[kRoot]),
               Unescaped(before[kPoint])};
}

// Our group in the hierarchy of that version, from "4:cpu,cpuacct:/docker/1f" or
// "0::/system.slice".
std::optional<std::string_view> GroupOf(Version version, std::string_view groups) {
  for (const std::string_view line : Split(groups, '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool found = version == Version::kTwo
                           ? line.substr(0, first) == "0" && controllers.empty()
                           : Has(controllers, "cpu");
    if (found) return line.substr(second + 1);
  }
  return std::nullopt;
}

// The way from the group `root` down to the group `path`: "" or "/a/b". nullopt when the group is
// not below that one, or above what a namespace shows ("/../a").
std::optional<std::string_view> WayDown(std::string_view root, std::string_view path) {
  if (std::ranges::count(Split(path, '/'), "..") > 0) return std::nullopt;
  if (root == "/") root = "";
  if (!path.starts_with(root)) return std::nullopt;
  path.remove_prefix(root.size());
  if (!path.empty() && path.front() != '/') return std::nullopt;
  return path == "/" ? "" : path;
}

std::optional<std::int64_t> Number(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || read != end) return std::nullopt;
  return number;
}

std::optional<int> Rounded(std::optional<std::int64_t> quota_us,
                           std::optional<std::int64_t> period_us) {
  if (!quota_us || !period_us || *quota_us <= 0 || *period_us <= 0) return std::nullopt;
  const std::int64_t processors = *quota_us / *period_us + (*quota_us % *period_us == 0 ? 0 : 1);
  return static_cast<int>(std::min<std::int64_t>(processors, INT_MAX));
}

// Where systemd and containers have the group of those who look: whatever the names say there, it
// is ours or above ours.
bool IsOwnPlace(const Mount& mount) {
  constexpr std::string_view kPlace = "/sys/fs/cgroup";
  return mount.point == kPlace || mount.point.starts_with(std::string(kPlace) + "/");
}

// The quota of the group whose files lie in `folder`.
std::optional<int> QuotaIn(const std::string& folder, Version version, const ReadKernelFile& read) {
  if (version == Version::kOne) {
    const auto quota = read(folder + "/cpu.cfs_quota_us");  // -1: none
    const auto period = read(folder + "/cpu.cfs_period_us");
    return quota && period ? Rounded(Number(*quota), Number(*period)) : std::nullopt;
  }
  const auto both = read(folder + "/cpu.max");  // "max 100000", "50000 100000"
  if (!both) return std::nullopt;
  const std::size_t blank = std::min(both->find(' '), both->size());
  return Rounded(Number(std::string_view(*both).substr(0, blank)),
                 Number(std::string_view(*both).substr(std::min(blank + 1, both->size()))));
}

// From the group at `way` below the mount up to the mount itself.
std::optional<int> SmallestQuota(const Mount& mount, std::string_view way,
                                 const ReadKernelFile& read) {
  std::optional<int> smallest;
  while (true) {
    const std::string folder = mount.point + std::string(way);
    if (const auto quota = QuotaIn(folder, mount.version, read)) {
      smallest = std::min(smallest.value_or(INT_MAX), *quota);
    }
    if (way.empty()) return smallest;
    way = way.substr(0, way.rfind('/'));
  }
}

std::optional<std::string> ReadWhole(const std::string& path) {
  constexpr std::size_t kMaxBytes = std::size_t{4} << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text;
  std::array<char, 4096> piece{};
  while (text.size() < kMaxBytes && (file.read(piece.data(), piece.size()), file.gcount() > 0)) {
    text.append(piece.data(), static_cast<std::size_t>(file.gcount()));
  }
  return text;
}

int ProcessorsByAffinity() {
  struct Free {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
  };
  // The kernel refuses a set that is smaller than its own.
  for (std::size_t processors = CPU_SETSIZE; processors <= std::size_t{1} << 20; processors *= 2) {
    const std::unique_ptr<cpu_set_t, Free> set(CPU_ALLOC(processors));
    const std::size_t bytes = CPU_ALLOC_SIZE(processors);
    if (set == nullptr) break;
    if (sched_getaffinity(0, bytes, set.get()) == 0) return CPU_COUNT_S(bytes, set.get());
    if (errno != EINVAL) break;
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

std::optional<int> ProcessorsByQuota(const ReadKernelFile& read) {
  const auto groups = read("/proc/self/cgroup");
  const auto mounts = read("/proc/self/mountinfo");
  if (!groups || !mounts) return std::nullopt;
  std::optional<int> smallest;
  for (const std::string_view line : Split(*mounts, '\n')) {
    const std::optional<Mount> mount = ReadMount(line);
    if (!mount) continue;
    const auto group = GroupOf(mount->version, *groups);
    if (!group) continue;
    std::optional<std::string_view> way = WayDown(mount->root, *group);
    if (!way && IsOwnPlace(*mount)) way = "";
    if (!way) continue;  // somebody else's group
    const auto quota = SmallestQuota(*mount, *way, read);
    if (quota) smallest = std::min(smallest.value_or(INT_MAX), *quota);
  }
  return smallest;
}

int UsableProcessors() {
  const int processors = ProcessorsByAffinity();
  return std::max(1, std::min(processors, ProcessorsByQuota(ReadWhole).value_or(processors)));
}

}  // namespace inferpool
