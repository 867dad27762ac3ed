#include "ops/feeder/addresses.h"

#include <filesystem>
#include <system_error>

namespace inferpool::feeder {
namespace {

constexpr std::string_view kSchemeEnd = "://";
constexpr std::string_view kHidden = "...";

}  // namespace

AddressKind KindOf(const std::string& address) {
  if (address.find(kSchemeEnd) != std::string::npos) return AddressKind::kUrl;
  if (address.starts_with("/dev/")) return AddressKind::kDevice;
  std::error_code error;
  return std::filesystem::is_directory(address, error) ? AddressKind::kFolder : AddressKind::kFile;
}

std::string Shown(std::string_view address) {
  const std::size_t scheme = address.find(kSchemeEnd);
  if (scheme == std::string_view::npos) return std::string(address);
  std::string shown(address.substr(0, scheme + kSchemeEnd.size()));
  std::string_view rest = address.substr(shown.size());
  // A password may have any character that its owner forgot to escape, also "/", "?" and "@".
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos)
    rest.remove_prefix(at + 1);
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::size_t length = slash == std::string_view::npos ? rest.size() : slash + 1;
    const std::string_view part = rest.substr(0, length);
    const std::size_t secret = part.find_first_of("=?#&;");
    if (secret != std::string_view::npos) {
      const bool is_query = part[secret] == '?' || part[secret] == '#';
      if (is_query) shown += part.substr(0, secret + 1);
      return shown.append(kHidden);
    }
    shown += part;
    rest.remove_prefix(length);
  }
  return shown;
}

}  // namespace inferpool::feeder
