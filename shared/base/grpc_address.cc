#include "shared/base/grpc_address.h"

namespace inferpool {
namespace {

constexpr std::string_view kUnix = "unix:";

}  // namespace

std::string GrpcAddress(std::string_view address) {
  if (!address.starts_with(kUnix)) return std::string(address);
  std::string target(kUnix);
  for (const char c : address.substr(kUnix.size())) {
    if (c == '%') {
      target += "%25";
    } else if (c == '?') {
      target += "%3F";
    } else if (c == '#') {
      target += "%23";
    } else {
      target += c;
    }
  }
  return target;
}

std::string_view UnixSocketPath(std::string_view address) {
  if (!address.starts_with(kUnix)) return {};
  address.remove_prefix(kUnix.size());
  constexpr std::string_view kNoHost = "//";
  if (address.starts_with("///")) address.remove_prefix(kNoHost.size());
  return address;
}

}  // namespace inferpool
