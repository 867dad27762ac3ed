// The inputs that have crashed a worker, in shared memory. Every worker looks here before it
// touches a picture, so a poisonous picture costs one worker only.
//
// A worker that crashes enters its own input in the signal handler, before its connections close.
// Otherwise nginx's retry could reach the next worker first. So there are several writers: a writer
// claims an entry with one atomic exchange, and its death blocks nobody. A new entry replaces the
// oldest one. Times are of the steady clock, which all processes of a machine share.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/fixed_text.h"
#include "shared/base/seqlock.h"

namespace inferpool {

// SipHash-2-4 of the picture's bytes, 128 bits, with the pool's key. Nobody without the key can
// make a picture that has another one's digest. All zero: not known.
struct Digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const Digest&) const = default;
  bool known() const { return high != 0 || low != 0; }
};

struct DigestKey {
  std::array<std::uint8_t, 16> bytes{};
};

// Makes a key. nullopt, with errno, when the kernel has no random bytes.
std::optional<DigestKey> RandomDigestKey();

Digest DigestOf(const DigestKey& key, std::string_view bytes);

// 32 hexadecimal digits.
std::string ToHex(const Digest& digest);

using ModelName = FixedText<136>;
using RequestName = FixedText<72>;

struct Quarantined {
  Digest digest;
  ModelName model;
  RequestName request_id;  // of the request that crashed the worker
  std::int64_t until_ns = 0;
};

class Quarantine {
 public:
  static constexpr std::size_t kEntries = 256;

  // Call it once, before other processes see the quarantine.
  void SetKey(const DigestKey& key) { key_ = key; }

  // The digest by which this quarantine knows a picture. Do not call it in a signal handler.
  Digest DigestOf(std::string_view bytes) const { return inferpool::DigestOf(key_, bytes); }

  // Enters an input, or extends the time of one that is there. Safe in a signal handler.
  void Enter(const Quarantined& entry);

  bool Has(const Digest& digest, std::string_view model, TimePoint now) const;

  // The entries whose time is not over at `now`.
  std::vector<Quarantined> List(TimePoint now) const;

  void Clear();

 private:
  struct alignas(64) Entry {
    std::atomic<std::uint64_t> low;      // of the digest: what Has looks at first
    std::atomic<std::int64_t> until_ns;  // 0: empty
    std::atomic<std::uint32_t> being_written;
    Seqlock<Quarantined> value;
  };

  DigestKey key_;
  std::atomic<std::uint64_t> entered_;  // since the start; the next entry's place
  std::array<Entry, kEntries> entries_;
};

}  // namespace inferpool
