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

// That the trailer says.
std::size_t GzipLength(std::string_view bytes) {
  constexpr std::size_t kLength = 4;
  if (bytes.size() < kLength) return 0;
  std::size_t length = 0;
  for (std::size_t i = 0; i < kLength; ++i) {
    length = length << 8 | static_cast<unsigned char>(bytes[bytes.size() - 1 - i]);
  }
  return length;
}

}  // namespace

absl::StatusOr<std::string> Inflate(std::string_view bytes, std::string_view encoding,
                                    std::size_t max_bytes, const Patience& patience) {
  if (encoding != "gzip" && encoding != "deflate") {
    return absl::UnimplementedError(
        fmt::format("Content-Encoding {} is not known here, gzip and deflate are", encoding));
  }
  // What gzip's trailer promises (RFC 1952, 2.3.1) is all that is counted for it.
  const std::size_t promised = encoding == "gzip" ? GzipLength(bytes) : max_bytes;
  if (bytes.size() > UINT_MAX) return absl::OutOfRangeError("the compressed body is too long");
  Stream stream(encoding == "gzip" ? kGzipFrame : kZlibFrame);
  if (!stream.good) return absl::InternalError("zlib cannot be used");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  int result = Z_OK;
  while (result == Z_OK) {
    RETURN_IF_ERROR(patience.Check());
    const std::size_t before = text.size();
    if (before > promised) break;
    if (before > max_bytes) {
      return absl::OutOfRangeError(
          fmt::format("the body has more than {} bytes when it is unpacked", max_bytes));
    }
    text.resize(before + std::min(kPiece, std::min(max_bytes, promised) + 1 - before));
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + before);
    stream.avail_out = static_cast<uInt>(text.size() - before);
    result = inflate(&stream, Z_NO_FLUSH);
    text.resize(text.size() - stream.avail_out);
  }
  if (result != Z_STREAM_END || stream.avail_in > 0) {
    return absl::DataLossError(fmt::format("the body is no sound {}", encoding));
  }
  if (text.size() > max_bytes) {
    return absl::OutOfRangeError(
        fmt::format("the body has more than {} bytes when it is unpacked", max_bytes));
  }
  return text;
}

std::size_t InflatedBytes(std::string_view bytes, std::string_view encoding,
                          std::size_t max_bytes) {
  if (encoding == "gzip") return std::min(GzipLength(bytes), max_bytes);
  // RFC 1950 has no length. A little is unpacked to see.
  constexpr std::size_t kTrial = std::size_t{1} << 20;
  if (const auto text = Inflate(bytes, encoding, std::min(max_bytes, kTrial)); text.ok()) {
    return text->size();
  }
  constexpr std::size_t kMaxPerByte = 1032;  // zlib's technical details
  return bytes.size() > max_bytes / kMaxPerByte ? max_bytes : bytes.size() * kMaxPerByte;
}

}  // namespace inferpool::kserve_http
