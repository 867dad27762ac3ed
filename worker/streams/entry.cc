#include "worker/streams/entry.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inferpool::streams {
namespace {

// No handle is as long, and what is cut off here is none.
constexpr std::size_t kMostHandle = 512;

std::int64_t ToNumber(std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.begin(), text.end(), number);
  return number;
}

}  // namespace

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
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    const std::string_view name = fields.at(i).Text();
    const std::string_view value = fields.at(i + 1).Text();
    if (name == names.picture) {
      frame.picture = value;
    } else if (name == names.frame) {
      frame.handle = value.substr(0, kMostHandle);
    } else if (name == names.seq) {
      frame.seq = value;
    } else if (name == names.time) {
      if (const std::int64_t time = ToNumber(value); time > 0) frame.captured_ms = time;
    } else if (name == names.model && !value.empty()) {
      frame.model = value;
    } else if (name == names.parameters) {
      frame.parameters = value;
    }
  }
  return frame;
}

}  // namespace inferpool::streams
