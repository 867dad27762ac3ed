// Checks the values of our configuration that end up in nginx's. A value that passes means the same
// there, and cannot add anything else to nginx's configuration. Pure functions.
#pragma once

#include <cstddef>
#include <string_view>

namespace inferpool::nginx_values {

// The longest path that fits a unix socket's address, the closing zero excluded.
inline constexpr std::size_t kMaxSocketPath = 107;

// A path that nginx takes between quotes.
bool IsPath(std::string_view text);

// As "_", "example.org", "*.example.org".
bool IsServerName(std::string_view text);

// "https://example.org", "http://localhost:3000", "*". In small letters and without the scheme's
// own port or a path, as browsers send it.
bool IsOrigin(std::string_view text);

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
