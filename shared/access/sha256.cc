#include "shared/access/sha256.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <charconv>
#include <cstdlib>
#include <iterator>
#include <system_error>

namespace inferpool {

Sha256 Sha256Of(std::string_view bytes) {
  Sha256 digest;
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.bytes.data(), &length, EVP_sha256(), nullptr) !=
          1 ||
      length != digest.bytes.size()) {
    std::abort();  // a library without SHA-256, or no memory for its state
  }
  return digest;
}

bool EqualInConstantTime(const Sha256& one, const Sha256& other) {
  return CRYPTO_memcmp(one.bytes.data(), other.bytes.data(), one.bytes.size()) == 0;
}

std::string ToHex(const Sha256& digest) {
  std::string hex;
  for (const std::uint8_t byte : digest.bytes) {
    fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  }
  return hex;
}

std::optional<Sha256> ParseSha256(std::string_view hex) {
  Sha256 digest;
  if (hex.size() != 2 * digest.bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    const char* begin = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, digest.bytes[i], 16);
    if (error != std::errc() || end != begin + 2) return std::nullopt;
  }
  return digest;
}

}  // namespace inferpool
