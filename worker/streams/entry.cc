#include "worker/streams/entry.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inferpool::streams {
namespace {

// Nothing sensible is as long, and what is cut off here is not: only pictures are large.
constexpr std::size_t kMostHandle = 512;
constexpr std::size_t kMostSeq = 64;
constexpr std::size_t kMostModel = 256;
constexpr std::size_t kMostParameters = 8 << 10;
// Digits of a time, as take.lua has it.
constexpr std::size_t kMostDigits = 15;

std::int64_t ToNumber(std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.begin(), text.end(), number);
  return number;
}

// Of a capture; 0: it is no time.
std::int64_t ToTime(std::string_view text) {
  const bool is_time =
      text.size() <= kMostDigits && text.find_first_not_of("0123456789") == std::string_view::npos;
  return is_time ? ToNumber(text) : 0;
}

}  // namespace

std::size_t BytesOf(Reply fields) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < fields.size(); ++i) bytes += fields.at(i).Text().size();
  return bytes;
}

std::int64_t TimeOfId(std::string_view id) {
  return ToNumber(id.substr(0, id.find('-')));
}

FieldNames::FieldNames(const Config::Fields& names) {
  const auto name = [&names](const std::string& field) {
    const auto found = names.find(field);
    return found == names.end() ? field : found->second;
  };
  picture = name("picture");
  frame = name("frame");
  epoch = name("epoch");
  seq = name("seq");
  time = name("time");
  model = name("model");
  parameters = name("parameters");
}

Frame FrameOf(const FieldNames& names, const Camera& camera, Reply id, Reply fields, bool claimed) {
  Frame frame{.camera = camera.id, .shard = camera.shard, .id = std::string(id.Text())};
  frame.model = camera.options.model;
  frame.parameters = camera.options.parameters;
  frame.policy = camera.options.policy;
  frame.max_age_ms = camera.options.max_age_ms;
  frame.findings_only = camera.options.findings_only;
  frame.claimed = claimed;
  frame.read_at = Clock::now();
  frame.read_ms = NowMs();
  frame.captured_ms = TimeOfId(frame.id);
  frame.bytes = BytesOf(fields);
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    const std::string_view name = fields.at(i).Text();
    const std::string_view value = fields.at(i + 1).Text();
    if (name == names.picture) {
      frame.picture = value;
    } else if (name == names.frame) {
      frame.handle = value.substr(0, kMostHandle);
    } else if (name == names.seq) {
      frame.seq = value.substr(0, kMostSeq);
    } else if (name == names.time) {
      if (const std::int64_t time = ToTime(value); time > 0) frame.captured_ms = time;
    } else if (name == names.model && !value.empty()) {
      frame.model = value.substr(0, kMostModel);
    } else if (name == names.parameters) {
      frame.parameters = value.substr(0, kMostParameters);
    }
  }
  return frame;
}

}  // namespace inferpool::streams
