// Reads JSON (RFC 8259) token by token, for texts whose tree would take fifty times their memory.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace inferpool::kserve_http {

// A position in a text, which must outlive it. Each Take function moves the position behind the
// token that it takes, and leaves it where it is when there is no such token.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : text_(text) {}

  // The text from the position on.
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

  // Takes a string and stores it in `text` as UTF-8. False also when it has control characters,
  // invalid escapes, half a surrogate pair, or bytes that are not UTF-8.
  bool TakeString(std::string& text);

 private:
  // Four hexadecimal digits.
  std::optional<unsigned> TakeHex();
  bool TakeEscape(std::string& text);

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace inferpool::kserve_http
