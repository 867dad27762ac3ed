#include "worker/kserve_http/json_cursor.h"

#include <charconv>

#include "shared/base/utf8.h"

namespace inferpool::kserve_http {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

void AppendUtf8(unsigned point, std::string& text) {
  const auto add = [&text](unsigned byte) { text += static_cast<char>(byte); };
  if (point < 0x80) {
    add(point);
  } else if (point < 0x800) {
    add(0xc0 | point >> 6);
    add(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    add(0xe0 | point >> 12);
    add(0x80 | (point >> 6 & 0x3f));
    add(0x80 | (point & 0x3f));
  } else {
    add(0xf0 | point >> 18);
    add(0x80 | (point >> 12 & 0x3f));
    add(0x80 | (point >> 6 & 0x3f));
    add(0x80 | (point & 0x3f));
  }
}

}  // namespace

void JsonCursor::SkipSpace() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
    ++at_;
  }
}

bool JsonCursor::Take(char wanted) {
  if (AtEnd() || text_[at_] != wanted) return false;
  ++at_;
  return true;
}

bool JsonCursor::Take(std::string_view word) {
  if (!rest().starts_with(word)) return false;
  at_ += word.size();
  return true;
}

std::optional<JsonCursor::Number> JsonCursor::TakeNumber() {
  std::size_t end = at_;
  const auto is = [&](char c) { return end < text_.size() && text_[end] == c; };
  const auto digits = [&] {
    const std::size_t begin = end;
    while (end < text_.size() && IsDigit(text_[end])) ++end;
    return end > begin;
  };
  if (is('-')) ++end;
  if (is('0')) {
    ++end;
  } else if (!digits()) {
    return std::nullopt;
  }
  bool whole = true;
  if (is('.')) {
    whole = false;
    ++end;
    if (!digits()) return std::nullopt;
  }
  if (is('e') || is('E')) {
    whole = false;
    ++end;
    if (is('+') || is('-')) ++end;
    if (!digits()) return std::nullopt;
  }
  const Number number{text_.substr(at_, end - at_), whole};
  at_ = end;
  return number;
}

bool JsonCursor::TakeString(std::string& text) {
  const std::size_t begin = at_;
  text.clear();
  if (!Take('"')) return false;
  while (!AtEnd()) {
    const std::size_t run = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
           static_cast<unsigned char>(text_[at_]) >= 0x20) {
      ++at_;
    }
    text += text_.substr(run, at_ - run);
    if (Take('"')) {
      if (IsUtf8(text)) return true;
      break;
    }
    if (!Take('\\') || !TakeEscape(text)) break;
  }
  at_ = begin;
  return false;
}

bool JsonCursor::TakeEscape(std::string& text) {
  if (AtEnd()) return false;
  constexpr std::string_view kEscapes = "\"\\/bfnrt";
  constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
  if (const auto found = kEscapes.find(text_[at_]); found != std::string_view::npos) {
    ++at_;
    text += kMeant[found];
    return true;
  }
  if (!Take('u')) return false;
  const std::optional<unsigned> first = TakeHex();
  if (!first) return false;
  unsigned point = *first;
  if (point >= 0xd800 && point < 0xdc00) {
    if (!Take("\\u")) return false;
    const std::optional<unsigned> second = TakeHex();
    if (!second || *second < 0xdc00 || *second > 0xdfff) return false;
    point = 0x10000 + ((point - 0xd800) << 10) + (*second - 0xdc00);
  }
  AppendUtf8(point, text);  // a low half alone is no UTF-8, which the caller finds
  return true;
}

std::optional<unsigned> JsonCursor::TakeHex() {
  const std::string_view digits = text_.substr(at_, 4);
  unsigned value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) return std::nullopt;
  at_ += 4;
  return value;
}

}  // namespace inferpool::kserve_http
