#include "worker/predict/response_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "shared/base/log.h"

namespace inferpool::predict {
namespace {

constexpr std::array<char, 8> kMagic = {'i', 'p', 'c', 'a', 'c', 'h', 'e', '1'};
constexpr std::size_t kWays = 4;
constexpr std::size_t kMaxTypeBytes = 128;

std::int64_t ToEpochNs(ResponseCache::Time at) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
}

std::string FolderFor(const std::string& folder, std::size_t entries) {
  return fmt::format("{}/{}", folder, entries);
}

bool ReadAll(int fd, char* bytes, std::size_t count) {
  while (count > 0) {
    const ssize_t got = read(fd, bytes, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    count -= static_cast<std::size_t>(got);
  }
  return true;
}

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

ResponseCache::ResponseCache(const std::string& folder, std::size_t entries,
                             std::chrono::seconds time_to_live, int writer)
    : folder_(FolderFor(folder, entries)),
      ways_(std::min(kWays, entries)),
      sets_(entries / ways_),
      time_to_live_(time_to_live),
      temporary_(fmt::format("{}/new-{}", folder_, writer)) {
  static_assert(std::is_trivially_copyable_v<Header> &&
                std::has_unique_object_representations_v<Header>);
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  std::filesystem::permissions(folder_, std::filesystem::perms::owner_all, error);
}

std::optional<CachedAnswer> ResponseCache::Find(const CacheKey& key, Time now) const {
  for (std::size_t way = 0; way < ways_; ++way) {
    Header header{};
    const FileDescriptor file = Open(FirstPlace(key) + way, header);
    if (!file || header.key != key) continue;
    if (!IsFresh(header, now) || header.type_bytes > kMaxTypeBytes ||
        header.body_bytes > kMaxAnswerBytes) {
      continue;
    }
    std::string content(header.type_bytes + header.body_bytes, '\0');
    char more = 0;
    if (!ReadAll(file.get(), content.data(), content.size()) || read(file.get(), &more, 1) != 0 ||
        Checksum(header, content) != header.checksum) {
      continue;
    }
    return CachedAnswer{content.substr(0, header.type_bytes), content.substr(header.type_bytes)};
  }
  return std::nullopt;
}

void ResponseCache::Store(const CacheKey& key, const CachedAnswer& answer, Time now) {
  if (answer.body.size() > kMaxAnswerBytes || answer.content_type.size() > kMaxTypeBytes) return;
  const std::size_t first = FirstPlace(key);
  std::size_t place = first;
  std::int64_t oldest_ns = std::numeric_limits<std::int64_t>::max();
  for (std::size_t candidate = first; candidate < first + ways_; ++candidate) {
    Header there{};
    const FileDescriptor file = Open(candidate, there);
    const bool of_use = file && IsFresh(there, now);
    if (of_use && there.key == key) {
      place = candidate;
      break;
    }
    if (const std::int64_t since_ns = of_use ? there.stored_ns : 0; since_ns < oldest_ns) {
      oldest_ns = since_ns;
      place = candidate;
    }
  }
  const std::string content = answer.content_type + answer.body;
  Header header{.magic = kMagic,
                .key = key,
                .stored_ns = ToEpochNs(now),
                .type_bytes = static_cast<std::uint32_t>(answer.content_type.size()),
                .body_bytes = static_cast<std::uint32_t>(answer.body.size()),
                .checksum = 0};
  header.checksum = Checksum(header, content);

  const MutexLock lock(store_mutex_);
  bool written = false;
  {
    const FileDescriptor file(
        open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    written = file &&
              WriteAll(file.get(), {reinterpret_cast<const char*>(&header), sizeof header}) &&
              WriteAll(file.get(), content);
  }
  if (written && rename(temporary_.c_str(), PathOf(place).c_str()) == 0) return;
  if (!complained_) {
    log::Warning("an answer cannot be kept",
                 {{"folder", folder_}, {"reason", std::generic_category().message(errno)}});
  }
  complained_ = true;
  unlink(temporary_.c_str());
}

void ResponseCache::Sweep(const std::string& folder, std::size_t entries) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entries > 0 && entry.path() == FolderFor(folder, entries)) continue;
    std::error_code ignored;
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

std::string ResponseCache::PathOf(std::size_t place) const {
  return fmt::format("{}/{}", folder_, place);
}

std::size_t ResponseCache::FirstPlace(const CacheKey& key) const {
  std::uint64_t bits = 0;
  std::memcpy(&bits, key.bytes.data(), sizeof bits);
  return bits % sets_ * ways_;
}

// The file there, after its header; none when there is no such file or it is none of ours.
FileDescriptor ResponseCache::Open(std::size_t place, Header& header) const {
  FileDescriptor file(open(PathOf(place).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file || !ReadAll(file.get(), reinterpret_cast<char*>(&header), sizeof header) ||
      header.magic != kMagic) {
    return FileDescriptor();
  }
  return file;
}

bool ResponseCache::IsFresh(const Header& header, Time now) const {
  const std::int64_t age_ns = ToEpochNs(now) - header.stored_ns;
  // Not of a time to come either: the clock may have been set back.
  return age_ns >= 0 && std::chrono::nanoseconds(age_ns) < time_to_live_;
}

std::uint64_t ResponseCache::Checksum(Header header, const std::string& content) {
  header.checksum = XXH3_64bits(content.data(), content.size());
  return XXH3_64bits(&header, sizeof header);
}

}  // namespace inferpool::predict
