// A look at what a connection brings before libfcgi reads it. libfcgi takes the lengths in the
// parameters at their word, as much memory as they claim, and aborts when there is not that much.
#pragma once

#include <cstddef>
#include <string_view>

namespace inferpool::fcgi {

// FastCGI puts no bound on the parameters. nginx's stay below 40 KiB with its default header
// buffers; a peer that sends more than this is not nginx.
inline constexpr std::size_t kMaxParameterBytes = std::size_t{64} * 1024;

enum class Preamble { kIncomplete, kGood, kBad };

// Judges the first bytes of a connection (FastCGI specification, sections 3.3 to 5.2): a
// BEGIN_REQUEST of the responder role, without padding, then PARAMS up to the empty one, of the
// same request, not longer than kMaxParameterBytes, every name and value within them. What follows
// is not looked at.
Preamble Judge(std::string_view bytes);

}  // namespace inferpool::fcgi
