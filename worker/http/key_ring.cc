#include "worker/http/key_ring.h"

#include <strings.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "shared/base/log.h"
#include "shared/board/quarantine.h"

namespace inferpool::http {
namespace {

constexpr std::chrono::seconds kLookEvery{1};

// The token of "Bearer TOKEN" (RFC 6750); nothing for another scheme.
std::string_view BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "Bearer ";
  if (authorization.size() < kScheme.size() ||
      strncasecmp(authorization.data(), kScheme.data(), kScheme.size()) != 0) {
    return {};
  }
  authorization.remove_prefix(kScheme.size());
  const std::size_t begin = authorization.find_first_not_of(' ');
  return begin == std::string_view::npos ? std::string_view() : authorization.substr(begin);
}

std::shared_ptr<const KeyHolder> MakeHolder(ApiKey key, RateLimiter& limiter) {
  auto holder = std::make_shared<KeyHolder>();
  holder->key = std::move(key);
  holder->meter = limiter.Find(holder->key.name);
  if (holder->meter == nullptr) {
    log::Error("no place is left to count a key's requests: each worker limits it by itself",
               {{"key", holder->key.name}, {"places", RateLimiter::kMaxKeys}});
    holder->own_meter = std::make_unique<RateMeter>();
    holder->meter = holder->own_meter.get();
  }
  return holder;
}

}  // namespace

KeyRing::KeyRing(std::string file, RateLimiter& limiter, TimePoint now)
    : file_(std::move(file)), limiter_(limiter), next_look_ns_(0) {
  Refresh(now);
}

std::variant<std::shared_ptr<const KeyHolder>, Problem> KeyRing::Identify(
    const fcgi::Request& request, TimePoint now, WallTime wall_now) {
  Refresh(now);
  const std::string_view bearer = BearerToken(request.Header("authorization"));
  const std::string_view plain = request.Header("x-api-key");
  if (bearer.empty() && plain.empty()) {
    return Unauthorized("an API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY");
  }
  if (!bearer.empty() && !plain.empty() && bearer != plain) {
    return Unauthorized("Authorization and X-API-Key name two different API keys; send one");
  }
  const Sha256 digest = Sha256Of(bearer.empty() ? plain : bearer);
  std::shared_ptr<const KeyHolder> found;
  if (const auto holders = Current()) {
    // All of them, so that the time says nothing of which one it is.
    for (const auto& holder : *holders) {
      if (EqualInConstantTime(holder->key.sha256, digest)) found = holder;
    }
  }
  if (found == nullptr || wall_now >= found->key.expires_at) {
    return Unauthorized("this API key is unknown or has expired");
  }
  return found;
}

KeyRing::Stamp KeyRing::Look() const {
  struct stat info {};
  if (stat(file_.c_str(), &info) != 0) return {};
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  return {.there = true,
          .inode = info.st_ino,
          .size = info.st_size,
          .modified_ns = info.st_mtim.tv_sec * kNsPerSecond + info.st_mtim.tv_nsec,
          .changed_ns = info.st_ctim.tv_sec * kNsPerSecond + info.st_ctim.tv_nsec};
}

void KeyRing::Refresh(TimePoint now) {
  std::int64_t due = next_look_ns_.load(std::memory_order_relaxed);
  if (ToNs(now) < due || !next_look_ns_.compare_exchange_strong(due, ToNs(now + kLookEvery),
                                                                std::memory_order_relaxed)) {
    return;
  }
  const MutexLock lock(refresh_mutex_);  // should a look take longer than a second
  const Stamp stamp = Look();
  const bool first = due == 0;
  if (stamp == seen_ && !first) return;
  seen_ = stamp;
  auto keys = LoadApiKeys(file_);
  if (!keys.ok()) {
    const bool had_keys = has_keys();
    log::Error(had_keys ? "the keys file is bad: the keys stay as they were"
                        : "the keys file is bad: nobody is let in",
               {{"reason", Message(keys.status())}});
    const MutexLock note(mutex_);
    file_problem_ = Message(keys.status());
    return;
  }
  auto holders = std::make_shared<Holders>();
  for (ApiKey& key : *keys) holders->push_back(MakeHolder(std::move(key), limiter_));
  const std::size_t count = holders->size();
  {
    const MutexLock swap(mutex_);
    holders_ = std::move(holders);
    file_problem_.clear();
  }
  log::Info("API keys read", {{"keys", count}});
}

std::string KeyRing::file_problem() const {
  const MutexLock lock(mutex_);
  return file_problem_;
}

std::shared_ptr<const KeyRing::Holders> KeyRing::Current() const {
  const MutexLock lock(mutex_);
  return holders_;
}

}  // namespace inferpool::http
