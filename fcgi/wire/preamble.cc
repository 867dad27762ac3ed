#include "fcgi/wire/preamble.h"

#include <fastcgi.h>

#include <optional>
#include <string>

namespace inferpool::fcgi {
namespace {

unsigned Byte(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

unsigned TwoBytes(std::string_view bytes, std::size_t at) {
  return Byte(bytes, at) << 8 | Byte(bytes, at + 1);
}

// Takes a length off the front: one byte, or four with the highest bit set.
std::optional<std::size_t> TakeLength(std::string_view& bytes) {
  if (bytes.empty()) return std::nullopt;
  const std::size_t first = Byte(bytes, 0);
  if (first < 0x80) {
    bytes.remove_prefix(1);
    return first;
  }
  if (bytes.size() < 4) return std::nullopt;
  const std::size_t length = (first & 0x7f) << 24 | Byte(bytes, 1) << 16 | TwoBytes(bytes, 2);
  bytes.remove_prefix(4);
  return length;
}

bool ArePairs(std::string_view parameters) {
  while (!parameters.empty()) {
    const auto name = TakeLength(parameters);
    const auto value = TakeLength(parameters);
    if (!name || !value || *name + *value > parameters.size()) return false;
    parameters.remove_prefix(*name + *value);
  }
  return true;
}

struct Record {
  unsigned type;
  unsigned request;
  std::size_t padding;
  std::string_view content;
};

// Takes a whole record off the front; nothing when it is not all there.
std::optional<Record> TakeRecord(std::string_view& bytes) {
  if (bytes.size() < FCGI_HEADER_LEN) return std::nullopt;
  const std::size_t length = TwoBytes(bytes, 4);
  const std::size_t whole = FCGI_HEADER_LEN + length + Byte(bytes, 6);
  if (bytes.size() < whole) return std::nullopt;
  const Record record{Byte(bytes, 1), TwoBytes(bytes, 2), Byte(bytes, 6),
                      bytes.substr(FCGI_HEADER_LEN, length)};
  bytes.remove_prefix(whole);
  return record;
}

}  // namespace

Preamble ValidatePreamble(std::string_view bytes) {
  std::optional<unsigned> request;
  std::string parameters;
  while (true) {
    if (!bytes.empty() && Byte(bytes, 0) != FCGI_VERSION_1) return Preamble::kBad;
    const std::optional<Record> record = TakeRecord(bytes);
    if (!record) return Preamble::kIncomplete;
    if (!request) {
      if (record->type != FCGI_BEGIN_REQUEST || record->content.size() != 8 ||
          TwoBytes(record->content, 0) != FCGI_RESPONDER ||
          record->request == FCGI_NULL_REQUEST_ID ||
          record->padding > 0) {  // libfcgi may take it for records; nginx sends none there
        return Preamble::kBad;
      }
      request = record->request;
      continue;
    }
    if (record->type != FCGI_PARAMS || record->request != *request) return Preamble::kBad;
    if (record->content.empty()) return ArePairs(parameters) ? Preamble::kGood : Preamble::kBad;
    parameters += record->content;
    if (parameters.size() > kMaxParameterBytes) return Preamble::kBad;
  }
}

}  // namespace inferpool::fcgi
