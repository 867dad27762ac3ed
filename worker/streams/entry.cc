#include "worker/streams/entry.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>

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

std::string_view FieldName(const Config::Streams& settings, std::string_view field) {
  const auto found = settings.fields.find(std::string(field));
  return found == settings.fields.end() ? field : std::string_view(found->second);
}

Frame FrameOf(const Config::Streams& settings, const Camera& camera, Reply id, Reply fields,
              bool claimed) {
  Frame frame{.camera = camera.id, .shard = camera.shard, .id = std::string(id.Text())};
  frame.model = camera.options.model;
  frame.parameters = camera.options.parameters;
  frame.policy = camera.options.policy;
  frame.max_age_ms = camera.options.max_age_ms;
  frame.findings_only = camera.options.findings_only;
  frame.claimed = claimed;
  frame.read_at = Clock::now();
  frame.read_ms = NowMs();
  frame.captured_ms = ToNumber(frame.id);
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    const std::string_view name = fields.at(i).Text();
    const std::string_view value = fields.at(i + 1).Text();
    if (name == FieldName(settings, "picture")) {
      frame.picture = value;
    } else if (name == FieldName(settings, "frame")) {
      frame.handle = value.substr(0, kMostHandle);
    } else if (name == FieldName(settings, "seq")) {
      frame.seq = value;
    } else if (name == FieldName(settings, "time")) {
      if (const std::int64_t time = ToNumber(value); time > 0) frame.captured_ms = time;
    } else if (name == FieldName(settings, "model") && !value.empty()) {
      frame.model = value;
    } else if (name == FieldName(settings, "parameters")) {
      frame.parameters = value;
    }
  }
  return frame;
}

}  // namespace inferpool::streams
