#include "modelserver/config/name_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "shared/base/ascii.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kMaxClass = 9999;
constexpr std::string_view kBlanks = " \t\r\n\v\f";

// What is left to read. Each Take removes what it returns, and nothing when it fails.
using Rest = std::string_view;

void SkipBlanks(Rest& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
}

bool Take(Rest& rest, std::string_view wanted) {
  SkipBlanks(rest);
  if (!rest.starts_with(wanted)) {
    return false;
  }
  rest.remove_prefix(wanted.size());
  return true;
}

void Append(std::uint32_t code_point, std::string& text) {
  const auto byte = [&text](std::uint32_t value) { text += static_cast<char>(value); };
  if (code_point < 0x80) {
    byte(code_point);
  } else if (code_point < 0x800) {
    byte(0xc0 | code_point >> 6);
    byte(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    byte(0xe0 | code_point >> 12);
    byte(0x80 | (code_point >> 6 & 0x3f));
    byte(0x80 | (code_point & 0x3f));
  } else {
    byte(0xf0 | code_point >> 18);
    byte(0x80 | (code_point >> 12 & 0x3f));
    byte(0x80 | (code_point >> 6 & 0x3f));
    byte(0x80 | (code_point & 0x3f));
  }
}

// A number of `least` to `most` digits of the base.
std::optional<std::uint32_t> TakeDigits(Rest& rest, std::size_t least, std::size_t most, int base) {
  std::uint32_t number = 0;
  const char* end = rest.data() + std::min(most, rest.size());
  const auto [stop, error] = std::from_chars(rest.data(), end, number, base);
  const auto length = static_cast<std::size_t>(stop - rest.data());
  if (error != std::errc() || length < least) {
    return std::nullopt;
  }
  rest.remove_prefix(length);
  return number;
}

bool IsSurrogate(std::uint32_t code_point, std::uint32_t first) {
  return code_point >= first && code_point < first + 0x400;
}

// An escape with four or eight hexadecimal digits behind \u or \U. Two with four digits may be one
// character. `rest` begins behind the letter.
std::optional<std::uint32_t> TakeUnicode(Rest& rest, std::size_t digits) {
  constexpr std::uint32_t kHigh = 0xd800;
  constexpr std::uint32_t kLow = 0xdc00;
  constexpr std::uint32_t kReplacement = 0xfffd;
  const auto first = TakeDigits(rest, digits, digits, 16);
  if (!first || *first > 0x10ffff) {
    return std::nullopt;
  }
  if (IsSurrogate(*first, kHigh) && rest.starts_with("\\u")) {
    Rest behind = rest.substr(2);
    const auto second = TakeDigits(behind, 4, 4, 16);
    if (second && IsSurrogate(*second, kLow)) {
      rest = behind;
      return 0x10000 + ((*first - kHigh) << 10) + (*second - kLow);
    }
  }
  return IsSurrogate(*first, kHigh) || IsSurrogate(*first, kLow) ? kReplacement : *first;
}

// What a backslash and what follows it mean; `rest` is behind the backslash. An escape that Python
// does not know stands for itself.
bool TakeEscape(Rest& rest, char quote, std::string& text) {
  constexpr std::string_view kLetters = "abfnrtv\\'\"";
  constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
  if (rest.empty()) {
    return false;
  }
  const char letter = rest.front();
  std::optional<std::uint32_t> code_point;
  if (letter >= '0' && letter <= '7') {
    code_point = TakeDigits(rest, 1, 3, 8);
  } else {
    rest.remove_prefix(1);
    if (const std::size_t at = kLetters.find(letter); at != std::string_view::npos) {
      text += kMeanings[at];
      return true;
    }
    if (letter == '\n') {  // a line that goes on
      return true;
    }
    if (letter == '/' && quote == '"') {
      text += '/';
      return true;
    }
    if (letter != 'x' && letter != 'u' && letter != 'U') {
      text += '\\';
      text += letter;
      return true;
    }
    code_point =
        letter == 'x' ? TakeDigits(rest, 2, 2, 16) : TakeUnicode(rest, letter == 'u' ? 4 : 8);
  }
  if (!code_point) {
    return false;
  }
  Append(*code_point, text);
  return true;
}

std::optional<std::string> TakeQuoted(Rest& rest) {
  SkipBlanks(rest);
  if (rest.empty() || (rest.front() != '\'' && rest.front() != '"')) {
    return std::nullopt;
  }
  const char quote = rest.front();
  Rest behind = rest.substr(1);
  std::string text;
  while (!behind.empty()) {
    const char next = behind.front();
    behind.remove_prefix(1);
    if (next == quote) {
      rest = behind;
      return text;
    }
    if (next != '\\') {
      text += next;
    } else if (!TakeEscape(behind, quote, text)) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

bool IsOfWord(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '.' || c == '+' || c == '-';
}

// A number, True, or another word without quotes.
std::optional<std::string> TakeWord(Rest& rest) {
  SkipBlanks(rest);
  const auto* const end = std::find_if_not(rest.begin(), rest.end(), IsOfWord);
  const auto length = static_cast<std::size_t>(end - rest.begin());
  if (length == 0) {
    return std::nullopt;
  }
  std::string word(rest.substr(0, length));
  rest.remove_prefix(length);
  return word;
}

// A name; an empty one for None. NumPy writes np.str_('cat').
std::optional<std::string> TakeName(Rest& rest) {
  if (auto text = TakeQuoted(rest)) {
    return text;
  }
  Rest behind = rest;
  auto word = TakeWord(behind);
  if (!word) {
    return std::nullopt;
  }
  if (*word == "u" || *word == "np.str_") {
    const bool in_brackets = *word != "u";
    if (in_brackets && !Take(behind, "(")) {
      return std::nullopt;
    }
    auto text = TakeQuoted(behind);
    if (!text || (in_brackets && !Take(behind, ")"))) {
      return std::nullopt;
    }
    rest = behind;
    return text;
  }
  rest = behind;
  return *word == "None" || *word == "null" ? std::string() : std::move(word);
}

std::optional<std::size_t> TakeNumber(Rest& rest) {
  const std::optional<std::string> text = [&rest] {
    auto quoted = TakeQuoted(rest);
    return quoted ? quoted : TakeWord(rest);
  }();
  if (!text) {
    return std::nullopt;
  }
  const std::string_view digits = Trim(std::string_view(*text), kBlanks);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool good =
      error == std::errc() && end == digits.data() + digits.size() && number <= kMaxClass;
  return good ? std::optional(number) : std::nullopt;
}

}  // namespace

std::vector<std::string> ParseNameList(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (!IsUtf8(text)) {
    return {};
  }
  Rest rest = text;
  if (rest.starts_with(kByteOrderMark)) {
    rest.remove_prefix(kByteOrderMark.size());
  }
  const bool is_dict = Take(rest, "{");
  const bool is_list = !is_dict && Take(rest, "[");
  if (!is_dict && !is_list && !Take(rest, "(")) {
    return {};
  }
  const std::string_view end = is_dict ? "}" : is_list ? "]" : ")";
  std::map<std::size_t, std::string> names;
  std::size_t count = 0;
  while (!Take(rest, end)) {
    std::optional<std::size_t> number = count;
    if (is_dict) {
      number = TakeNumber(rest);
      if (!number || !Take(rest, ":")) {
        return {};
      }
    }
    auto name = TakeName(rest);
    if (!name || *number > kMaxClass) {
      return {};
    }
    names[*number] = *std::move(name);
    ++count;
    if (!Take(rest, ",")) {
      if (!Take(rest, end)) {
        return {};
      }
      break;
    }
  }
  SkipBlanks(rest);
  if (!rest.empty()) {
    return {};
  }
  std::vector<std::string> ordered;
  for (auto& [number, name] : names) {
    while (ordered.size() < number) {
      ordered.push_back(fmt::format("{}", ordered.size()));
    }
    ordered.push_back(name.empty() ? fmt::format("{}", number) : std::move(name));
  }
  return ordered;
}

}  // namespace inferpool::modelserver
