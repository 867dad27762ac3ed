// Checks the values of our configuration that end up in nginx's. A value that passes means the same
// there, and cannot add anything else to nginx's configuration. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace inferpool::nginx_values {

// The longest path that fits a unix socket's address, the closing zero excluded.
inline constexpr std::size_t kMaxSocketPath = 107;

// A path that nginx takes between quotes.
bool IsPath(std::string_view text);

// As "_", "example.org", "*.example.org".
bool IsServerName(std::string_view text);

// "https://example.org", "http://localhost:3000", "*". In small letters and without the scheme's
// own port or a path, as browsers send it. "https://*.example.org" stands for all sub-domains.
bool IsOrigin(std::string_view text);

// Whether an origin that IsOrigin takes stands for all sub-domains of a host.
bool IsWildcard(std::string_view origin);

// The regular expression that the origins match for which such an origin stands: one or several
// names before the host, and neither the host itself nor one whose name only ends like it.
std::string OriginPattern(std::string_view wildcard);

// "X-Requested-With", "*".
bool IsHeaderName(std::string_view text);

// "", "/vision", "/apps/vision": no slash at the end, and no first segment that is one of our own.
bool IsBasePath(std::string_view text);

// `text`, in which every character stands for itself in a regular expression.
std::string Escaped(std::string_view text);

// "192.0.2.1", "2001:db8::1".
bool IsAddress(std::string_view text);

// "[2001:db8::1]".
bool IsBracketed(std::string_view text);

// "192.0.2.1", "2001:db8::1", "10.0.0.0/8".
bool IsNetwork(std::string_view text);

// "192.0.2.1:9000", "[2001:db8::1]:9000".
bool IsAddressAndPort(std::string_view text);

// The same, or a host's name instead of the address.
bool IsHostAndPort(std::string_view text);

// "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]", "[2001:db8::1]:53".
bool IsResolver(std::string_view text);

// "unix:/path/inferpool.sock", or as IsHostAndPort has it.
bool IsPool(std::string_view text);

}  // namespace inferpool::nginx_values
