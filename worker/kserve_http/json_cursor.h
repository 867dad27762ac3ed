// Reads JSON (RFC 8259) token by token, where a tree of it would take fifty times its memory.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace inferpool::kserve_http {

// A position in a text, which must outlive it. What takes a token leaves the position alone when
// there is none.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : text_(text) {}

  // What is left, from the position on.
  std::string_view rest() const { return text_.substr(at_); }
  bool AtEnd() const { return at_ == text_.size(); }

  void SkipSpace();
  bool Take(char wanted);
  bool Take(std::string_view word);

  struct Number {
    std::string_view text;
    bool whole;  // neither fraction nor exponent
  };
  std::optional<Number> TakeNumber();

  // A string, to `text` as UTF-8. False also for control characters, escapes that are none, half
  // surrogate pairs, and bytes that are not UTF-8.
  bool TakeString(std::string& text);

 private:
  // Four hexadecimal digits.
  std::optional<unsigned> TakeHex();
  bool TakeEscape(std::string& text);

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace inferpool::kserve_http
