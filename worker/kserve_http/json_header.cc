#include "worker/kserve_http/json_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "shared/base/strict_json.h"
#include "shared/base/utf8.h"
#include "worker/kserve_http/json_cursor.h"

namespace inferpool::kserve_http {
namespace {

constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxValues = 16'384;  // of which each costs some hundred bytes

absl::Status Malformed(std::string_view text) {
  return InvalidArgument("the request's JSON is malformed: {}", text);
}

// Where the string that begins at `at` ends, behind its quote; the text's end when it does not.
std::size_t EndOfString(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

// Where the value that begins at `at` ends, by its brackets alone.
std::size_t EndOfValue(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = EndOfString(text, at);
      continue;
    }
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) return at;
    ++at;
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && --depth == 0) return at;
  }
  return at;
}

// Copies the text but for the values of inputs[i].data, which it lists. It follows the brackets,
// and leaves all other judgement to the parser of what it has copied.
class Splitter {
 public:
  Splitter(std::string_view text, std::vector<std::string_view>& data) : text_(text), data_(data) {}

  absl::StatusOr<std::string> Split() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      switch (c) {
        case '"':
          String();
          continue;
        case '{':
        case '[':
          if (open_.size() == kMaxDepth) {
            return Malformed(fmt::format("it is nested deeper than {} levels", kMaxDepth));
          }
          open_ += c;
          key_follows_ = c == '{';
          break;
        case '}':
        case ']':
          if (open_.empty()) return Malformed("a bracket closes what was not opened");
          open_.pop_back();
          key_follows_ = false;
          break;
        case ',':
          key_follows_ = open_.ends_with('{');
          break;
        case ':':
          if (open_ == "{[{" && member_ == "inputs" && input_member_ == "data") {
            RETURN_IF_ERROR(Replace());
            continue;
          }
          break;
        case '/':
          return Malformed("there is a comment");  // of which jsoncpp would tolerate some
        default:
          break;
      }
      ++at_;
    }
    RETURN_IF_ERROR(Copy(text_.size()));
    return std::move(copy_);
  }

 private:
  void String() {
    const std::size_t end = EndOfString(text_, at_);
    if (key_follows_ && (open_.size() == 1 || open_ == "{[{")) {
      std::string& member = open_.size() == 1 ? member_ : input_member_;
      JsonCursor(text_.substr(at_, end - at_)).TakeString(member);
    }
    key_follows_ = false;
    at_ = end;
  }

  absl::Status Replace() {
    RETURN_IF_ERROR(Copy(at_ + 1));
    // The blanks keep it from becoming one number with what follows a value that ends too early.
    fmt::format_to(std::back_inserter(copy_), " {} ", data_.size());
    const std::size_t end = EndOfValue(text_, at_ + 1);
    data_.push_back(text_.substr(at_ + 1, end - at_ - 1));
    at_ = copied_ = end;
    return absl::OkStatus();
  }

  absl::Status Copy(std::size_t end) {
    if (copy_.size() + (end - copied_) > kMaxBytes) {
      return InvalidArgument("the request's JSON has more than {} bytes besides the inputs' data",
                             kMaxBytes);
    }
    copy_ += text_.substr(copied_, end - copied_);
    copied_ = end;
    return absl::OkStatus();
  }

  const std::string_view text_;
  std::vector<std::string_view>& data_;
  std::size_t at_ = 0;
  std::size_t copied_ = 0;  // text before this is in copy_, or in data_
  std::string copy_;
  std::string open_;  // brackets
  bool key_follows_ = false;
  std::string member_;        // of the root that the position is in
  std::string input_member_;  // of the array's object that the position is in
};

}  // namespace

absl::StatusOr<JsonHeader> ReadJsonHeader(std::string_view text) {
  JsonHeader header;
  ASSIGN_OR_RETURN(const std::string copy, Splitter(text, header.data).Split());
  if (!IsUtf8(copy)) return Malformed("it is not UTF-8");
  auto root = ReadStrictJson(copy, static_cast<int>(kMaxDepth), kMaxValues);
  if (!root.ok()) return Malformed(Message(root.status()));
  header.root = *std::move(root);
  if (!header.root.isObject()) return Malformed("it is no object");
  return header;
}

}  // namespace inferpool::kserve_http
