#include "ops/rules/signature.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "shared/base/ascii.h"
#include "shared/base/file_descriptor.h"

namespace inferpool::rules {
namespace {

constexpr std::size_t kLeast = 16;
constexpr std::size_t kMost = 4'096;
// What strip() takes away in Python, with which receivers may read theirs.
constexpr std::string_view kBlanks = " \t\n\r\v\f";

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
  const auto failed = [&file](int error) {
    return absl::FailedPreconditionError(
        fmt::format("{} cannot be read: {}", file, std::generic_category().message(error)));
  };
  // A pipe does not hold us.
  const FileDescriptor descriptor(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!descriptor || fstat(descriptor.get(), &info) != 0) return failed(errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(fmt::format("{} is no regular file", file));
  }
  std::string bytes(kMost + 1, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = read(descriptor.get(), bytes.data() + size, bytes.size() - size);
    if (got == 0) break;
    if (got < 0 && errno != EINTR) return failed(errno);
    if (got > 0) size += static_cast<std::size_t>(got);
  }
  bytes.resize(size);
  const std::string_view secret = Trim(bytes, kBlanks);
  if (secret.size() < kLeast || bytes.size() > kMost) {
    return absl::FailedPreconditionError(fmt::format(
        "{} has a secret of {} bytes, allowed are {} to {}", file, secret.size(), kLeast, kMost));
  }
  return std::string(secret);
}

}  // namespace inferpool::rules
