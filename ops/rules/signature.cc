#include "ops/rules/signature.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <fstream>
#include <iterator>

#include "shared/base/ascii.h"

namespace inferpool::rules {
namespace {

constexpr std::size_t kLeast = 16;
constexpr std::size_t kMost = 4'096;

}  // namespace

std::string Signature(std::string_view secret, std::int64_t unix_s, std::string_view body) {
  const std::string text = fmt::format("{}.{}", unix_s, body);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &length);
  std::string signature = fmt::format("t={},v1=", unix_s);
  for (unsigned int i = 0; i < length; ++i) signature += fmt::format("{:02x}", digest[i]);
  return signature;
}

absl::StatusOr<std::string> ReadSecret(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string bytes(kMost + 1, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(stream.gcount()));
  if (stream.bad() || bytes.empty()) {
    return absl::FailedPreconditionError(fmt::format("{} cannot be read", file));
  }
  const std::string_view secret = Trim(bytes, " \t\r\n");
  if (secret.size() < kLeast || bytes.size() > kMost) {
    return absl::FailedPreconditionError(fmt::format(
        "{} has a secret of {} bytes, allowed are {} to {}", file, secret.size(), kLeast, kMost));
  }
  return std::string(secret);
}

}  // namespace inferpool::rules
