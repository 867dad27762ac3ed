#include "shared/config/nginx_values.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

namespace inferpool::nginx_values {
namespace {

// The longest name that DNS has (RFC 1035).
constexpr std::size_t kMaxName = 253;
// What stands before the host for all of its sub-domains.
constexpr std::string_view kAnySubdomain = "*.";

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

bool IsSmallNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || IsDigit(c) || c == '.' || c == '-' || c == '_';
}

bool IsNameCharacter(char c) {
  return IsSmallNameCharacter(c) || (c >= 'A' && c <= 'Z');
}

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName && std::ranges::all_of(text, IsNameCharacter);
}

bool IsNumber(std::string_view text, int min, int max) {
  if (text.empty() || text.size() > 5 || !std::ranges::all_of(text, IsDigit)) return false;
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number >= min && number <= max;
}

bool IsPort(std::string_view text) {
  return IsNumber(text, 1, 65'535);
}

bool IsAddress(std::string_view text, int family) {
  if (text.find('\0') != std::string_view::npos) return false;  // which C takes for the end
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(family, std::string(text).c_str(), bytes) == 1;
}

// Parts "a:1" at its last colon, which is not one of those within brackets.
bool Part(std::string_view text, std::string_view& host, std::string_view& port) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) return false;
  host = text.substr(0, colon);
  port = text.substr(colon + 1);
  return true;
}

}  // namespace

bool IsBracketed(std::string_view text) {
  return text.size() > 2 && text.front() == '[' && text.back() == ']' &&
         IsAddress(text.substr(1, text.size() - 2), AF_INET6);
}

bool IsAddress(std::string_view text) {
  return IsAddress(text, AF_INET) || IsAddress(text, AF_INET6);
}

bool IsPath(std::string_view text) {
  return text.find_first_of("\"\\$;{}") == std::string_view::npos;
}

bool IsServerName(std::string_view text) {
  if (text.starts_with("*.")) text.remove_prefix(2);
  return IsName(text) && text.front() != '.' && text.front() != '-';
}

bool IsOrigin(std::string_view text) {
  if (text == "*") return true;
  const std::size_t end = text.find("://");
  if (end == std::string_view::npos) return false;
  const std::string_view scheme = text.substr(0, end);
  const auto is_scheme_character = [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; };
  if (scheme.empty() || scheme.size() > 32 || scheme.front() == '-' ||
      !std::ranges::all_of(scheme, is_scheme_character)) {
    return false;
  }
  text.remove_prefix(end + 3);
  std::string_view host = text;
  std::string_view port;
  if (Part(text, host, port)) {
    const bool is_its_own =
        (scheme == "https" && port == "443") || (scheme == "http" && port == "80");
    if (!IsPort(port) || port.front() == '0' || is_its_own) return false;
  }
  if (IsBracketed(host)) return true;
  if (host.starts_with(kAnySubdomain)) {
    host.remove_prefix(kAnySubdomain.size());
    // "*.com" would be everybody's.
    const bool is_somebodys = host == "localhost" || host.find('.') != std::string_view::npos;
    if (!is_somebodys || host.front() == '.' || host.back() == '.' || IsAddress(host, AF_INET))
      return false;
  }
  return IsName(host) && std::ranges::all_of(host, IsSmallNameCharacter);
}

bool IsWildcard(std::string_view origin) {
  return origin.find(std::string("://").append(kAnySubdomain)) != std::string_view::npos;
}

std::string OriginPattern(std::string_view wildcard) {
  const std::size_t star = wildcard.find('*');
  return "^" + Escaped(wildcard.substr(0, star)) + R"(([a-z0-9_-]+\.)+)" +
         Escaped(wildcard.substr(star + 2)) + "$";
}

bool IsHeaderName(std::string_view text) {
  constexpr std::size_t kMaxHeaderName = 64;
  const auto may_be = [](char c) { return IsNameCharacter(c) && c != '.'; };
  return text == "*" ||
         (!text.empty() && text.size() <= kMaxHeaderName && std::ranges::all_of(text, may_be));
}

bool IsBasePath(std::string_view text) {
  constexpr std::size_t kMaxBasePath = 200;
  constexpr std::array<std::string_view, 9> kOurs = {
      "v1", "v2", "predict", "docs", "livez", "readyz", "metrics", "openapi.json", "pool.json"};
  if (text.empty()) return true;
  if (text.front() != '/' || text.size() > kMaxBasePath) return false;
  for (bool first = true; !text.empty(); first = false) {
    text.remove_prefix(1);
    const std::string_view segment = text.substr(0, text.find('/'));
    text.remove_prefix(segment.size());
    const bool only_dots = segment.find_first_not_of('.') == std::string_view::npos;
    if (only_dots || !IsName(segment)) return false;
    if (first && std::ranges::find(kOurs, segment) != kOurs.end()) return false;
  }
  return true;
}

std::string Escaped(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const bool stands_for_itself = IsNameCharacter(c) && c != '.';
    if (!stands_for_itself && c != '/' && c != ':') pattern += '\\';
    pattern += c;
  }
  return pattern;
}

bool IsNetwork(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string_view address = text.substr(0, slash);
  const bool is_ipv4 = IsAddress(address, AF_INET);
  if (!is_ipv4 && !IsAddress(address, AF_INET6)) return false;
  return slash == std::string_view::npos || IsNumber(text.substr(slash + 1), 0, is_ipv4 ? 32 : 128);
}

bool IsAddressAndPort(std::string_view text) {
  std::string_view host;
  std::string_view port;
  return Part(text, host, port) && IsPort(port) && (IsBracketed(host) || IsAddress(host, AF_INET));
}

bool IsHostAndPort(std::string_view text) {
  std::string_view host;
  std::string_view port;
  return Part(text, host, port) && IsPort(port) &&
         (IsBracketed(host) || (IsName(host) && host.front() != '-'));
}

bool IsResolver(std::string_view text) {
  return IsAddress(text, AF_INET) || IsBracketed(text) || IsAddressAndPort(text);
}

bool IsPool(std::string_view text) {
  if (!text.starts_with("unix:")) return IsHostAndPort(text);
  const std::string_view path = text.substr(5);
  // nginx takes a colon for the end of the path.
  return path.starts_with('/') && path.size() <= kMaxSocketPath && IsPath(path) &&
         path.find(':') == std::string_view::npos;
}

}  // namespace inferpool::nginx_values
