#include "worker/routes/live_routes.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <chrono>
#include <condition_variable>
#include <utility>

#include "shared/base/log.h"
#include "shared/config/routes_key.h"

namespace inferpool::routes {
namespace {

constexpr std::chrono::milliseconds kLookEvery{500};

std::uint64_t HashOf(const std::string& text) {
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace

LiveRoutes::LiveRoutes(Config::Routes configured, std::string file, Pool& pool, WorkerSlot& slot)
    : configured_(std::make_shared<const Config::Routes>(std::move(configured))),
      file_(std::move(file)),
      pool_(pool),
      slot_(slot),
      current_(configured_) {
  slot_.routes_configured.store(DigestOf(*configured_), std::memory_order_relaxed);
  slot_.routes_change.store(0, std::memory_order_relaxed);
  Look();
  looker_ = std::jthread([this](const std::stop_token& stop) { LookNowAndThen(stop); });
}

LiveRoutes::~LiveRoutes() = default;

std::shared_ptr<const Config::Routes> LiveRoutes::Current() const {
  const MutexLock lock(mutex_);
  return current_;
}

LiveRoutes::Stamp LiveRoutes::Seen() const {
  struct stat info {};
  if (stat(file_.c_str(), &info) != 0) return {};
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
  seen_ = stamp;
  if (stamp.inode == 0) {
    Use(configured_, 0);
    return;
  }
  Take(LoadRoutesFile(file_), stamp);
}

void LiveRoutes::Take(absl::StatusOr<RoutesFile> file, const Stamp& stamp) {
  if (!file.ok()) {
    if (IsFirstToSay(HashOf(fmt::format("bad {} {}", stamp.inode, stamp.changed_ns)))) {
      log::Error("the file of the routes' changes is bad: the routes stay as they were",
                 {{"reason", Message(file.status())}});
    }
    return;
  }
  if (!file->CountsFor(*configured_)) {
    if (!file->changes.empty() && IsFirstToSay(HashOf(fmt::format("over {} {:016x}", file->number(),
                                                                  DigestOf(*configured_))))) {
      log::Info("the configuration has other routes than those that were changed: it counts",
                {{"change", file->number()}});
    }
    Use(configured_, 0);
    return;
  }
  const RoutesChange& latest = file->changes.back();
  if (IsFirstToSay(
          HashOf(fmt::format("{} {} {} {}", latest.number, latest.at, latest.by, latest.what)))) {
    log::Info(
        "routes changed",
        {{"change", latest.number}, {"what", latest.what}, {"by", latest.by}, {"at", latest.at}});
  }
  const std::int64_t number = latest.number;
  Use(std::make_shared<const Config::Routes>(std::move(file->routes)), number);
}

void LiveRoutes::Use(std::shared_ptr<const Config::Routes> routes, std::int64_t number) {
  {
    const MutexLock lock(mutex_);
    current_ = std::move(routes);
  }
  slot_.routes_change.store(number, std::memory_order_release);
}

bool LiveRoutes::IsFirstToSay(std::uint64_t what) {
  return pool_.routes_said.exchange(what, std::memory_order_relaxed) != what;
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
