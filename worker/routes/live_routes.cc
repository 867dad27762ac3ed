#include "worker/routes/live_routes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <limits>
#include <utility>

#include "shared/base/file_descriptor.h"
#include "shared/base/log.h"
#include "shared/base/replace_file.h"
#include "shared/config/routes_key.h"

namespace inferpool::routes {
namespace {

constexpr std::chrono::milliseconds kLookEvery{500};

// Pool::routes_said has the number of the latest change that was logged, 0 when it does not count,
// and above it the hash of what else was logged last.
constexpr int kHashShift = 32;
constexpr std::uint64_t kNumberMask = 0xffff'ffff;

std::uint32_t HashOf(const std::string& text) {
  return static_cast<std::uint32_t>(XXH3_64bits(text.data(), text.size()));
}

}  // namespace

LiveRoutes::LiveRoutes(Config::Routes configured, std::string file, std::string kept, Pool& pool,
                       WorkerSlot& slot)
    : configured_(std::make_shared<const Config::Routes>(std::move(configured))),
      file_(std::move(file)),
      kept_(std::move(kept)),
      pool_(pool),
      slot_(slot),
      current_(configured_) {
  slot_.routes_configured.store(DigestOf(*configured_), std::memory_order_relaxed);
  slot_.routes_change.store(0, std::memory_order_relaxed);
  Look();
  if (!file_problem().empty()) UseKept();
  looker_ = std::jthread([this](const std::stop_token& stop) { LookNowAndThen(stop); });
}

LiveRoutes::~LiveRoutes() = default;

std::shared_ptr<const Config::Routes> LiveRoutes::Current() const {
  const MutexLock lock(mutex_);
  return current_;
}

std::string LiveRoutes::file_problem() const {
  const MutexLock lock(mutex_);
  return file_problem_;
}

LiveRoutes::Stamp LiveRoutes::Seen() const {
  struct stat info {};
  if (stat(file_.c_str(), &info) != 0) {
    // One that cannot be looked at may well be there: reading it says what is wrong.
    constexpr Stamp kNone;
    constexpr Stamp kUnknown{.inode = std::numeric_limits<ino_t>::max()};
    return errno == ENOENT ? kNone : kUnknown;
  }
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  return {.inode = info.st_ino,
          .size = info.st_size,
          .modified_ns = info.st_mtim.tv_sec * kNsPerSecond + info.st_mtim.tv_nsec,
          .changed_ns = info.st_ctim.tv_sec * kNsPerSecond + info.st_ctim.tv_nsec};
}

void LiveRoutes::Look() {
  const MutexLock lock(look_mutex_);
  const Stamp stamp = Seen();
  if (stamp == seen_) return;
  if (stamp.inode == 0) {
    pool_.routes_said.fetch_and(~kNumberMask, std::memory_order_relaxed);
    unlink(kept_.c_str());
    Use(configured_, 0);
  } else if (!Take(LoadRoutesFile(file_), stamp)) {
    return;
  }
  seen_ = stamp;
}

bool LiveRoutes::Take(absl::StatusOr<RoutesFile> file, const Stamp& stamp) {
  if (absl::IsNotFound(file.status())) return false;  // it has just gone
  if (!file.ok()) {
    {
      const MutexLock lock(mutex_);
      file_problem_ = Message(file.status());
    }
    if (IsFirstToSay(HashOf(fmt::format("bad {} {}", stamp.inode, stamp.changed_ns)))) {
      log::Error("the file of the routes' changes is bad: the routes stay as they were",
                 {{"reason", Message(file.status())}});
    }
    return absl::IsInvalidArgument(file.status());
  }
  if (!file->CountsFor(*configured_)) {
    if (!file->changes.empty() && IsFirstToSay(HashOf(fmt::format("over {} {:016x}", file->number(),
                                                                  DigestOf(*configured_))))) {
      log::Info("the configuration has other routes than those that were changed: it counts",
                {{"change", file->number()}});
    }
    Use(configured_, 0);
    return true;
  }
  LogChanges(*file);
  Keep(*file);
  const std::int64_t number = file->number();
  Use(std::make_shared<const Config::Routes>(std::move(file->routes)), number);
  return true;
}

void LiveRoutes::LogChanges(const RoutesFile& file) {
  const auto latest = static_cast<std::uint32_t>(file.number());
  std::uint64_t said = pool_.routes_said.load(std::memory_order_relaxed);
  std::uint32_t before = 0;
  do {
    before = static_cast<std::uint32_t>(said & kNumberMask);
    const bool is_begun_anew = before > latest && slot_.routes_change > file.number();
    if (is_begun_anew) before = 0;
    if (before >= latest) return;
  } while (!pool_.routes_said.compare_exchange_weak(said, (said & ~kNumberMask) | latest,
                                                    std::memory_order_relaxed));
  // What was changed before the pool started was logged by the one that ran then.
  const bool is_start = !seen_ && before == 0;
  for (const RoutesChange& change : file.changes) {
    if (is_start ? change.number != file.number() : change.number <= before) continue;
    log::Info(
        "routes changed",
        {{"change", change.number}, {"what", change.what}, {"by", change.by}, {"at", change.at}});
  }
}

void LiveRoutes::Keep(const RoutesFile& file) {
  constexpr mode_t kFolderMode = 0750;
  const std::string folder = std::filesystem::path(kept_).parent_path();
  mkdir(folder.c_str(), kFolderMode);
  const FileDescriptor lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return;
  const std::string text = SerializeRoutesFile(file);
  const auto kept = LoadRoutesFile(kept_);
  if (kept.ok() && SerializeRoutesFile(*kept) == text) return;
  const absl::Status status = ReplaceFile(kept_, text);
  if (!status.ok() && IsFirstToSay(HashOf(status.ToString()))) {
    log::Warning("no copy of the routes' changes can be kept", {{"reason", Message(status)}});
  }
}

void LiveRoutes::UseKept() {
  auto kept = LoadRoutesFile(kept_);
  if (!kept.ok() || !kept->CountsFor(*configured_)) return;
  const std::int64_t number = kept->number();
  log::Warning("the routes are those of the last good file", {{"change", number}});
  Use(std::make_shared<const Config::Routes>(std::move(kept->routes)), number, file_problem());
}

void LiveRoutes::Use(std::shared_ptr<const Config::Routes> routes, std::int64_t number,
                     std::string problem) {
  {
    const MutexLock lock(mutex_);
    current_ = std::move(routes);
    file_problem_ = std::move(problem);
  }
  slot_.routes_change.store(number, std::memory_order_release);
}

bool LiveRoutes::IsFirstToSay(std::uint32_t what) {
  std::uint64_t said = pool_.routes_said.load(std::memory_order_relaxed);
  do {
    if (said >> kHashShift == what) return false;
  } while (!pool_.routes_said.compare_exchange_weak(
      said, (said & kNumberMask) | (std::uint64_t{what} << kHashShift), std::memory_order_relaxed));
  return true;
}

void LiveRoutes::LookNowAndThen(const std::stop_token& stop) {
  std::condition_variable_any never;
  Mutex mutex;
  MutexLock lock(mutex);
  while (
      !never.wait_for(lock.native(), stop, kLookEvery, [&stop] { return stop.stop_requested(); })) {
    Look();
  }
}

}  // namespace inferpool::routes
