#include "shared/board/quarantine.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

namespace inferpool {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

namespace {

// What OpenSSL knows of the algorithm; looking it up takes longer than a small picture's digest.
EVP_MAC* SipHash() {
  static EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, "SIPHASH", nullptr);
  return algorithm;
}

}  // namespace

std::optional<DigestKey> RandomDigestKey() {
  DigestKey key;
  ssize_t got = 0;
  do {
    got = getrandom(key.bytes.data(), key.bytes.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(key.bytes.size())) return std::nullopt;
  return key;
}

Digest DigestOf(const DigestKey& key, std::string_view bytes) {
  std::array<unsigned char, sizeof(Digest)> code{};
  std::size_t size = code.size();
  const std::array parameters = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                 OSSL_PARAM_construct_end()};
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> state(EVP_MAC_CTX_new(SipHash()),
                                                                        &EVP_MAC_CTX_free);
  std::size_t length = 0;
  if (state == nullptr ||
      EVP_MAC_init(state.get(), key.bytes.data(), key.bytes.size(), parameters.data()) != 1 ||
      EVP_MAC_update(state.get(), reinterpret_cast<const unsigned char*>(bytes.data()),
                     bytes.size()) != 1 ||
      EVP_MAC_final(state.get(), code.data(), &length, code.size()) != 1 || length != code.size()) {
    std::abort();  // a library without SipHash, or no memory for its state
  }
  // As the bytes are written down.
  const auto half = [&code](std::size_t begin) {
    std::uint64_t value = 0;
    for (std::size_t i = begin; i < begin + sizeof(value); ++i) value = value << 8 | code[i];
    return value;
  };
  return {.high = half(0), .low = half(sizeof(std::uint64_t))};
}

std::string ToHex(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

void Quarantine::Enter(const Quarantined& entry) {
  if (!entry.digest.known()) return;
  for (Entry& known : entries_) {
    if (known.low.load(std::memory_order_relaxed) != entry.digest.low ||
        known.until_ns.load(std::memory_order_acquire) == 0) {
      continue;
    }
    const auto value = known.value.Load();
    if (value && value->digest == entry.digest && value->model == entry.model) {
      known.until_ns.store(entry.until_ns, std::memory_order_release);
      return;
    }
  }
  // A place whose writer is at work, or died at it, is passed over.
  for (std::size_t i = 0; i < kEntries; ++i) {
    Entry& place = entries_[entered_.fetch_add(1, std::memory_order_relaxed) % kEntries];
    if (place.being_written.exchange(1, std::memory_order_acquire) != 0) continue;
    place.until_ns.store(0, std::memory_order_relaxed);
    place.value.Store(entry);
    place.low.store(entry.digest.low, std::memory_order_relaxed);
    place.until_ns.store(entry.until_ns, std::memory_order_release);
    place.being_written.store(0, std::memory_order_release);
    return;
  }
}

bool Quarantine::Has(const Digest& digest, std::string_view model, TimePoint now) const {
  const std::size_t used = std::min(entered_.load(std::memory_order_acquire), kEntries);
  for (std::size_t i = 0; i < used; ++i) {
    const Entry& entry = entries_[i];
    if (entry.low.load(std::memory_order_relaxed) != digest.low ||
        entry.until_ns.load(std::memory_order_acquire) <= ToNs(now)) {
      continue;
    }
    const auto value = entry.value.Load();
    if (value && value->digest == digest && value->model == ModelName(model)) return true;
  }
  return false;
}

std::vector<Quarantined> Quarantine::List(TimePoint now) const {
  std::vector<Quarantined> list;
  for (const Entry& entry : entries_) {
    const std::int64_t until = entry.until_ns.load(std::memory_order_acquire);
    if (until <= ToNs(now)) continue;
    if (auto value = entry.value.Load()) {
      value->until_ns = until;
      list.push_back(*value);
    }
  }
  return list;
}

void Quarantine::Clear() {
  for (Entry& entry : entries_) entry.until_ns.store(0, std::memory_order_release);
}

}  // namespace inferpool
