// SHA-256, for API keys and cached answers: places where an attacker could gain from two inputs
// with the same digest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inferpool {

struct Sha256 {
  std::array<std::uint8_t, 32> bytes{};
  bool operator==(const Sha256&) const = default;

  std::string_view view() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

Sha256 Sha256Of(std::string_view bytes);

// Compares in a time that does not depend on where the digests differ.
bool EqualInConstantTime(const Sha256& one, const Sha256& other);

// 64 hexadecimal digits, and back; both cases are read.
std::string ToHex(const Sha256& digest);
std::optional<Sha256> ParseSha256(std::string_view hex);

}  // namespace inferpool
