#include "worker/kserve_http/elements.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "shared/base/json_text.h"
#include "shared/base/utf8.h"
#include "worker/kserve_http/json_cursor.h"

namespace inferpool::kserve_http {
namespace {

absl::Status OnlyBinary(inference::DataType datatype) {
  return InvalidArgument("{} has no form in JSON: use the binary form", DatatypeName(datatype));
}

bool IsControl(char c) {
  return static_cast<unsigned char>(c) < 0x20;
}

// The token that stands at the begin of `text`: a string up to its end, one of JSON's marks, or all
// up to the next mark or blank.
std::string_view FirstToken(std::string_view text) {
  static constexpr std::string_view kMarks = ",:[]{}\"";
  const auto ends = [](char c) {
    return c == ' ' || IsControl(c) || kMarks.find(c) != std::string_view::npos;
  };
  if (!text.starts_with('"')) {
    const auto length = std::ranges::find_if(text, ends) - text.begin();
    return text.substr(0, static_cast<std::size_t>(std::max<std::ptrdiff_t>(length, 1)));
  }
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') return text.substr(0, i + 1);
    if (IsControl(text[i])) return text.substr(0, i);
    if (text[i] == '\\') ++i;
  }
  return text;
}

// What is there instead of what should be, and nothing of what stands behind it.
std::string Sample(std::string_view text) {
  constexpr std::size_t kMaxSample = 24;
  return QuotedJson(FirstToken(text).substr(0, kMaxSample));
}

// Elements between two looks at the clock: some milliseconds.
constexpr std::int64_t kElementsPerLook = 1 << 16;

class Reader {
 public:
  Reader(std::string_view json, inference::DataType datatype, std::span<const std::int64_t> shape,
         std::int64_t count, const Patience& patience)
      : cursor_(json), datatype_(datatype), shape_(shape), count_(count), patience_(patience) {
    // No more than the text can hold: each element takes two characters.
    const std::size_t max_elements = json.size() / 2;
    const auto wanted = static_cast<std::size_t>(count);
    raw_.reserve(std::min(wanted, max_elements) * std::max<std::size_t>(ElementSize(datatype), 1));
  }

  absl::StatusOr<std::string> Read() {
    cursor_.SkipSpace();
    if (!cursor_.Take('[')) return InvalidArgument("data is no array");
    std::vector<std::int64_t> lengths = {0};  // of the arrays that are open
    bool may_close = true;
    while (!lengths.empty()) {
      cursor_.SkipSpace();
      if (may_close && cursor_.Take(']')) {
        RETURN_IF_ERROR(Close(lengths));
      } else {
        ++lengths.back();
        if (cursor_.Take('[')) {
          RETURN_IF_ERROR(Open(lengths));
          may_close = true;
          continue;
        }
        RETURN_IF_ERROR(Element(lengths.size()));
      }
      // Behind a value.
      may_close = false;
      while (!lengths.empty()) {
        cursor_.SkipSpace();
        if (cursor_.Take(',')) break;
        if (!cursor_.Take(']')) {
          return InvalidArgument("data: there is {} where a comma or the array's end should be",
                                 Sample(cursor_.rest()));
        }
        RETURN_IF_ERROR(Close(lengths));
      }
    }
    cursor_.SkipSpace();
    if (!cursor_.AtEnd()) return InvalidArgument("data: there is something behind the array");
    if (read_ != count_) {
      return InvalidArgument("data has {} elements, shape {} has {}", read_, ShapeText(shape_),
                             count_);
    }
    return std::move(raw_);
  }

 private:
  absl::Status Unlike() const {
    return InvalidArgument("data is nested, and not as shape {} says", ShapeText(shape_));
  }

  absl::Status Open(std::vector<std::int64_t>& lengths) {
    nested_ = true;
    if (read_in_outermost_ || lengths.size() >= shape_.size()) return Unlike();
    lengths.push_back(0);
    return absl::OkStatus();
  }

  absl::Status Close(std::vector<std::int64_t>& lengths) {
    if (nested_ && lengths.back() != shape_[lengths.size() - 1]) return Unlike();
    lengths.pop_back();
    return absl::OkStatus();
  }

  absl::Status Element(std::size_t depth) {
    if (nested_ && depth != shape_.size()) return Unlike();
    read_in_outermost_ |= depth == 1;
    if (read_ == count_) {
      return InvalidArgument("data has more than the {} elements of shape {}", count_,
                             ShapeText(shape_));
    }
    if (read_ % kElementsPerLook == 0) RETURN_IF_ERROR(patience_.Check());
    const absl::Status status = Append();
    if (!status.ok()) return InvalidArgument("data: element {}: {}", read_, Message(status));
    ++read_;
    return absl::OkStatus();
  }

  absl::Status Append() {
    switch (datatype_) {
      case inference::TYPE_BOOL:
        return Bool();
      case inference::TYPE_UINT8:
        return Number<std::uint8_t>();
      case inference::TYPE_UINT16:
        return Number<std::uint16_t>();
      case inference::TYPE_UINT32:
        return Number<std::uint32_t>();
      case inference::TYPE_UINT64:
        return Number<std::uint64_t>();
      case inference::TYPE_INT8:
        return Number<std::int8_t>();
      case inference::TYPE_INT16:
        return Number<std::int16_t>();
      case inference::TYPE_INT32:
        return Number<std::int32_t>();
      case inference::TYPE_INT64:
        return Number<std::int64_t>();
      case inference::TYPE_FP32:
        return Number<float>();
      case inference::TYPE_FP64:
        return Number<double>();
      default:
        return Bytes();
    }
  }

  template <typename T>
  void Put(T value) {
    raw_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  absl::Status Unfit() const {
    return InvalidArgument("{} is no {}", Sample(cursor_.rest()), DatatypeName(datatype_));
  }

  absl::Status Bool() {
    if (cursor_.Take("true")) {
      Put('\1');
    } else if (cursor_.Take("false")) {
      Put('\0');
    } else {
      return Unfit();
    }
    return absl::OkStatus();
  }

  absl::Status Bytes() {
    if (!cursor_.TakeString(text_)) return Unfit();
    AppendBytesElement(text_, raw_);
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status Number() {
    if constexpr (std::is_floating_point_v<T>) {
      if (const auto value = TakeSpecial()) {
        Put(static_cast<T>(*value));
        return absl::OkStatus();
      }
    }
    const auto number = cursor_.TakeNumber();
    if (!number) return Unfit();
    const std::string_view text = number->text;
    if (std::is_integral_v<T> && !number->whole) {
      return InvalidArgument("{} is no whole number, as {} needs it", Sample(text),
                             DatatypeName(datatype_));
    }
    T value = 0;
    auto error = std::from_chars(text.data(), text.data() + text.size(), value).ec;
    if constexpr (std::is_floating_point_v<T>) {
      // Out of range is also what is too small to be anything but zero.
      if (error != std::errc()) {
        value = static_cast<T>(std::strtod(std::string(text).c_str(), nullptr));
      }
      error = std::isfinite(value) ? std::errc() : std::errc::result_out_of_range;
    }
    if (error != std::errc()) {
      return InvalidArgument("{} is out of the range of {}", Sample(text), DatatypeName(datatype_));
    }
    Put(value);
    return absl::OkStatus();
  }

  std::optional<double> TakeSpecial() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (cursor_.Take("NaN")) return std::numeric_limits<double>::quiet_NaN();
    if (cursor_.Take("Infinity") || cursor_.Take("Inf")) return kInfinity;
    if (cursor_.Take("-Infinity") || cursor_.Take("-Inf")) return -kInfinity;
    return std::nullopt;
  }

  JsonCursor cursor_;
  const inference::DataType datatype_;
  const std::span<const std::int64_t> shape_;
  const std::int64_t count_;
  const Patience& patience_;
  std::int64_t read_ = 0;
  bool nested_ = false;
  bool read_in_outermost_ = false;
  std::string text_;
  std::string raw_;
};

template <typename T>
absl::Status Write(const TensorView& tensor, std::string& json, const Patience& patience) {
  const std::size_t count = tensor.data.size() / sizeof(T);
  for (std::size_t i = 0; i < count; ++i) {
    if (i % kElementsPerLook == 0) RETURN_IF_ERROR(patience.Check());
    T value;
    std::memcpy(&value, tensor.data.data() + i * sizeof(T), sizeof(T));
    if (i > 0) json += ',';
    if constexpr (!std::is_floating_point_v<T>) {
      fmt::format_to(std::back_inserter(json), "{}", value);
    } else if (std::isnan(value)) {
      json += "NaN";
    } else if (std::isinf(value)) {
      json += value > 0 ? "Infinity" : "-Infinity";
    } else {
      const std::size_t begin = json.size();
      fmt::format_to(std::back_inserter(json), "{}", value);
      // A number with a point is one to typed readers whatever its value.
      if (json.find_first_of(".e", begin) == std::string::npos) json += ".0";
    }
  }
  return absl::OkStatus();
}

absl::Status WriteBools(const TensorView& tensor, std::string& json, const Patience& patience) {
  for (std::size_t i = 0; i < tensor.data.size(); ++i) {
    if (i % kElementsPerLook == 0) RETURN_IF_ERROR(patience.Check());
    if (i > 0) json += ',';
    json += tensor.data[i] == std::byte{0} ? "false" : "true";
  }
  return absl::OkStatus();
}

absl::Status WriteTexts(const TensorView& tensor, std::string& json, const Patience& patience) {
  ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(tensor.shape));
  ASSIGN_OR_RETURN(const auto elements, DecodeBytes(tensor.data, count));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (i % kElementsPerLook == 0) RETURN_IF_ERROR(patience.Check());
    if (!IsUtf8(elements[i])) {
      return InvalidArgument("element {} is not UTF-8, which JSON needs: use the binary form", i);
    }
    if (i > 0) json += ',';
    json += QuotedJson(elements[i]);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadElements(std::string_view json, inference::DataType datatype,
                                         std::span<const std::int64_t> shape,
                                         const Patience& patience) {
  if (datatype == inference::TYPE_FP16 || datatype == inference::TYPE_BF16) {
    return OnlyBinary(datatype);
  }
  ASSIGN_OR_RETURN(const std::int64_t count, ElementCount(shape));
  return Reader(json, datatype, shape, count, patience).Read();
}

absl::Status WriteElements(const TensorView& tensor, std::string& json, const Patience& patience) {
  json += '[';
  switch (tensor.datatype) {
    case inference::TYPE_BOOL:
      RETURN_IF_ERROR(WriteBools(tensor, json, patience));
      break;
    case inference::TYPE_UINT8:
      RETURN_IF_ERROR(Write<std::uint8_t>(tensor, json, patience));
      break;
    case inference::TYPE_UINT16:
      RETURN_IF_ERROR(Write<std::uint16_t>(tensor, json, patience));
      break;
    case inference::TYPE_UINT32:
      RETURN_IF_ERROR(Write<std::uint32_t>(tensor, json, patience));
      break;
    case inference::TYPE_UINT64:
      RETURN_IF_ERROR(Write<std::uint64_t>(tensor, json, patience));
      break;
    case inference::TYPE_INT8:
      RETURN_IF_ERROR(Write<std::int8_t>(tensor, json, patience));
      break;
    case inference::TYPE_INT16:
      RETURN_IF_ERROR(Write<std::int16_t>(tensor, json, patience));
      break;
    case inference::TYPE_INT32:
      RETURN_IF_ERROR(Write<std::int32_t>(tensor, json, patience));
      break;
    case inference::TYPE_INT64:
      RETURN_IF_ERROR(Write<std::int64_t>(tensor, json, patience));
      break;
    case inference::TYPE_FP32:
      RETURN_IF_ERROR(Write<float>(tensor, json, patience));
      break;
    case inference::TYPE_FP64:
      RETURN_IF_ERROR(Write<double>(tensor, json, patience));
      break;
    case inference::TYPE_STRING:
      RETURN_IF_ERROR(WriteTexts(tensor, json, patience));
      break;
    default:
      return OnlyBinary(tensor.datatype);
  }
  json += ']';
  return absl::OkStatus();
}

}  // namespace inferpool::kserve_http
