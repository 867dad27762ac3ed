// Checks the start of a connection before libfcgi reads it. libfcgi believes the lengths of the
// parameters: it allocates as much memory as they claim and aborts when there is not that much.
#pragma once

#include <cstddef>
#include <string_view>

namespace inferpool::fcgi {

// FastCGI puts no bound on the parameters. nginx's stay below 40 KiB with its default header
// buffers; a peer that sends more than this is not nginx.
inline constexpr std::size_t kMaxParameterBytes = std::size_t{64} * 1024;

enum class Preamble { kIncomplete, kGood, kBad };

// Checks the first bytes of a connection (FastCGI specification, sections 3.3 to 5.2). A good
// preamble is a BEGIN_REQUEST of the responder role without padding, then PARAMS records of the
// same request up to the empty one. Together they are at most kMaxParameterBytes long, and every
// name and value lies within them. Bytes after the preamble are not checked. kIncomplete: good so
// far.
[[nodiscard]] Preamble ValidatePreamble(std::string_view bytes);

}  // namespace inferpool::fcgi
