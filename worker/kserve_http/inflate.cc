#include "worker/kserve_http/inflate.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <climits>

namespace inferpool::kserve_http {
namespace {

// Bits of zlib's window, and which frame is around the data.
constexpr int kZlibFrame = MAX_WBITS;
constexpr int kGzipFrame = MAX_WBITS + 16;
constexpr std::size_t kPiece = std::size_t{256} << 10;

// inflateEnd on every way out.
struct Stream : z_stream {
  explicit Stream(int window_bits) : z_stream{} { good = inflateInit2(this, window_bits) == Z_OK; }
  ~Stream() { inflateEnd(this); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  bool good;
};

// The length that the gzip trailer ends with which ends where `bytes` end (RFC 1952,
// section 2.3.1).
std::size_t GzipLength(std::string_view bytes) {
  constexpr std::size_t kLength = 4;
  if (bytes.size() < kLength) return 0;
  std::size_t length = 0;
  for (std::size_t i = 0; i < kLength; ++i) {
    length = length << 8 | static_cast<unsigned char>(bytes[bytes.size() - 1 - i]);
  }
  return length;
}

// What the trailers of all members promise, at least. A member may begin wherever the bytes are
// those of a header: in packed data they are by chance once in some hundred megabytes, so that too
// much is promised there.
std::size_t GzipLengths(std::string_view bytes) {
  constexpr std::string_view kMember = "\x1f\x8b\x08";
  constexpr unsigned char kReservedFlags = 0xe0;
  constexpr std::size_t kShortest = 18;  // a header and a trailer
  std::size_t lengths = GzipLength(bytes);
  for (std::size_t at = bytes.find(kMember, kShortest); at != std::string_view::npos;
       at = bytes.find(kMember, at + 1)) {
    const std::size_t flags = at + kMember.size();
    if (flags < bytes.size() && (static_cast<unsigned char>(bytes[flags]) & kReservedFlags) == 0) {
      lengths += GzipLength(bytes.substr(0, at));
    }
  }
  return lengths;
}

// Unpacks into `text` until the data end, or there are more than `most` bytes. Several gzip members
// are one text (RFC 1952, section 2.2). Returns whether the data are sound and have ended; `length`
// is that of the text so far.
absl::StatusOr<bool> Unpack(Stream& stream, bool may_have_members, std::size_t most,
                            const Patience& patience, std::string& text, std::size_t& length) {
  while (length <= most) {
    RETURN_IF_ERROR(patience.Check());
    if (text.size() == length) text.resize(length + std::min(kPiece, most + 1 - length));
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + length);
    stream.avail_out = static_cast<uInt>(text.size() - length);
    const int result = inflate(&stream, Z_NO_FLUSH);
    length = text.size() - stream.avail_out;
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) return true;
      if (!may_have_members || inflateReset(&stream) != Z_OK) return false;
    } else if (result != Z_OK) {
      return false;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<std::string> Inflate(std::string_view bytes, std::string_view encoding,
                                    std::size_t max_bytes, const Patience& patience) {
  const bool is_gzip = encoding == "gzip";
  if (!is_gzip && encoding != "deflate") {
    return absl::UnimplementedError(
        fmt::format("Content-Encoding {} is not taken here, {} are", encoding, kContentCodings));
  }
  // What the trailers promise is all that is counted for gzip.
  const std::size_t promised = is_gzip ? GzipLengths(bytes) : max_bytes;
  if (bytes.size() > UINT_MAX) return absl::OutOfRangeError("the compressed body is too long");
  Stream stream(is_gzip ? kGzipFrame : kZlibFrame);
  if (!stream.good) return absl::InternalError("zlib cannot be used");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  std::size_t length = 0;
  ASSIGN_OR_RETURN(const bool sound,
                   Unpack(stream, is_gzip, std::min(promised, max_bytes), patience, text, length));
  if (length > max_bytes) {
    return absl::OutOfRangeError(
        fmt::format("the body has more than {} bytes when it is unpacked", max_bytes));
  }
  if (!sound) return absl::DataLossError(fmt::format("the body is no sound {}", encoding));
  text.resize(length);
  return text;
}

std::size_t InflatedBytes(std::string_view bytes, std::string_view encoding,
                          std::size_t max_bytes) {
  if (encoding == "gzip") return std::min(GzipLengths(bytes), max_bytes);
  // RFC 1950 has no length. A little is unpacked to see.
  constexpr std::size_t kTrial = std::size_t{1} << 20;
  if (const auto text = Inflate(bytes, encoding, std::min(max_bytes, kTrial)); text.ok()) {
    return text->size();
  }
  constexpr std::size_t kMaxPerByte = 1032;  // zlib's technical details
  return bytes.size() > max_bytes / kMaxPerByte ? max_bytes : bytes.size() * kMaxPerByte;
}

}  // namespace inferpool::kserve_http
