// Answers that are kept, for all workers: files in a folder that they share.
//
// Each answer has a few places where it may lie, chosen by its key; what is there longest makes
// room. A file is written under another name first and then renamed, so a reader sees all of it or
// nothing, and a process that dies leaves one file of its own that its successor overwrites.
// Nothing is synced to the disk: a checksum tells what a power failure has left.
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

// What has to be the same for an answer to be given again (cache_key.h).
using CacheKey = Sha256;

struct CachedAnswer {
  std::string content_type;
  std::string body;
  bool operator==(const CachedAnswer&) const = default;
};

// Thread safe.
class ResponseCache {
 public:
  using Time = std::chrono::system_clock::time_point;  // which goes on when the machine is rebooted

  static constexpr std::size_t kMaxAnswerBytes = std::size_t{1} << 20;

  // `folder` is made; at most `entries`, which is not 0, files of answers are kept in it. `writer`:
  // a number that no other process at work there has.
  ResponseCache(const std::string& folder, std::size_t entries, std::chrono::seconds time_to_live,
                int writer);

  std::optional<CachedAnswer> Find(const CacheKey& key, Time now) const;

  // Does nothing with an answer that is too large, or when the disk is full.
  void Store(const CacheKey& key, const CachedAnswer& answer, Time now);

  // Takes away what caches of other sizes have left in `folder`, all of it for 0 entries.
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
  const std::size_t ways_;  // places that an answer may lie at
  const std::size_t sets_;
  const std::chrono::seconds time_to_live_;
  const std::string temporary_;
  Mutex store_mutex_;  // also guards the temporary file
  bool complained_ ABSL_GUARDED_BY(store_mutex_) = false;
};

}  // namespace inferpool::predict
