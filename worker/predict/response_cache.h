// The kept answers of all workers: files in a folder that the workers share.
//
// The key of an answer selects a few files in which it may be; a new answer replaces the oldest of
// them. A file is written under another name and then renamed, so that a reader sees all of it or
// nothing, and a process that dies leaves one file, which its successor overwrites. Nothing is
// synced to the disk: a checksum detects what a power failure damaged.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "shared/access/sha256.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/mutex.h"

namespace inferpool::predict {

// Answers with the same key are interchangeable (cache_key.h).
using CacheKey = Sha256;

struct CachedAnswer {
  std::string content_type;
  std::string body;
  bool operator==(const CachedAnswer&) const = default;
};

// Thread safe.
class ResponseCache {
 public:
  // The system clock, because answers outlive a reboot.
  using Time = std::chrono::system_clock::time_point;

  static constexpr std::size_t kMaxAnswerBytes = std::size_t{1} << 20;

  // Creates `folder`. It keeps at most `entries` answers, at least 1. No other process that uses
  // the folder at the same time may have the same `writer`.
  ResponseCache(const std::string& folder, std::size_t entries, std::chrono::seconds time_to_live,
                int writer);

  // nullopt when there is no answer, or when it is too old or damaged.
  std::optional<CachedAnswer> Find(const CacheKey& key, Time now) const;

  // Keeps the answer, unless it is too large or the disk is full.
  void Store(const CacheKey& key, const CachedAnswer& answer, Time now);

  // Removes from `folder` what caches with another number of entries left; everything when
  // `entries` is 0.
  static void Sweep(const std::string& folder, std::size_t entries);

 private:
  struct Header {
    std::array<char, 8> magic;
    CacheKey key;
    std::int64_t stored_ns;  // since the epoch
    std::uint32_t type_bytes;
    std::uint32_t body_bytes;
    std::uint64_t checksum;  // of all the rest
  };

  std::string PathOf(std::size_t place) const;
  std::size_t FirstPlace(const CacheKey& key) const;
  FileDescriptor Open(std::size_t place, Header& header) const;
  bool IsFresh(const Header& header, Time now) const;
  static std::uint64_t Checksum(Header header, const std::string& content);

  const std::string folder_;
  const std::size_t ways_;  // the number of files in which an answer may be
  const std::size_t sets_;
  const std::chrono::seconds time_to_live_;
  const std::string temporary_;
  Mutex store_mutex_;  // also guards the temporary file
  bool complained_ ABSL_GUARDED_BY(store_mutex_) = false;
};

}  // namespace inferpool::predict
