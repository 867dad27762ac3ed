// The inputs that have crashed a worker, in shared memory: every worker looks here before it
// touches a picture, so that a poisonous one costs one worker, once.
//
// A worker that crashes enters its own input, in the signal handler, before its connections close:
// nginx's retry would otherwise reach the next worker first. So there are several writers; an entry
// is claimed with one atomic exchange and a writer's death blocks nobody. Bounded: the oldest entry
// makes room. Times are of the steady clock, which all processes of a machine share.
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

// SipHash-2-4 of 128 bits of the picture's bytes, with the pool's key: without the key nobody can
// make a picture whose digest is that of another one. All zero: not known.
struct Digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const Digest&) const = default;
  bool known() const { return high != 0 || low != 0; }
};

struct DigestKey {
  std::array<std::uint8_t, 16> bytes{};
};

// nullopt, with errno, when the kernel has no random bytes.
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

  // Once, before other processes see it.
  void SetKey(const DigestKey& key) { key_ = key; }

  // As this quarantine knows pictures. Not in a signal handler.
  Digest DigestOf(std::string_view bytes) const { return inferpool::DigestOf(key_, bytes); }

  // Safe in a signal handler. Entering what is there already extends its time.
  void Enter(const Quarantined& entry);

  bool Has(const Digest& digest, std::string_view model, TimePoint now) const;

  // Those whose time is not over.
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
