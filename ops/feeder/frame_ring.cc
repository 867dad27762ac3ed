#include "ops/feeder/frame_ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>
#include <utility>

#include "shared/frames/inferpool_frames.h"

namespace inferpool::feeder {
namespace {

// Of a slot for files. One that has room for twice the first picture seldom becomes too small.
constexpr std::uint64_t kLeastFile = 64 << 10;

std::uint64_t RoomFor(const Picture& picture) {
  const std::uint64_t bytes = picture.bytes->size();
  return picture.width > 0 ? bytes : std::max(2 * bytes, kLeastFile);
}

const char* FormatOf(std::string_view file) {
  if (file.starts_with("\x89PNG")) return "png";
  return file.starts_with("RIFF") ? "webp" : "jpeg";
}

inferpool_frame Described(const Picture& picture) {
  const std::uint64_t bytes = picture.bytes->size();
  if (picture.width == 0) return {FormatOf(*picture.bytes), 0, 0, 0, bytes};
  const auto width = static_cast<std::uint32_t>(picture.width);
  return {"bgr", width, static_cast<std::uint32_t>(picture.height), 3 * width, bytes};
}

absl::Status Failed(std::string_view what) {
  return absl::ResourceExhaustedError(
      fmt::format("{}: {}", what, std::generic_category().message(errno)));
}

}  // namespace

void FrameRing::Close::operator()(inferpool_frames* ring) const {
  inferpool_frames_close(ring);
  delete ring;
}

FrameRing::FrameRing(std::uint32_t slots) : slots_(slots) {}
FrameRing::FrameRing(FrameRing&&) noexcept = default;
FrameRing& FrameRing::operator=(FrameRing&&) noexcept = default;
FrameRing::~FrameRing() = default;

absl::Status FrameRing::Prepare(const Picture& picture) {
  const std::uint64_t bytes = picture.bytes->size();
  const bool is_raw = picture.width > 0;
  constexpr std::uint64_t kPage = INFERPOOL_FRAMES_PAGE;
  const bool fits = now_ != nullptr && is_raw == is_raw_ && bytes <= now_->slot_bytes &&
                    (!is_raw || bytes + kPage > now_->slot_bytes);
  if (fits) return absl::OkStatus();
  // The one before the last has to go: memory is bounded, however often the size changes.
  before_ = std::move(now_);
  written_ = 0;
  is_raw_ = is_raw;
  auto ring = std::make_unique<inferpool_frames>();
  if (inferpool_frames_open(ring.get(), slots_, RoomFor(picture)) != 0) {
    return Failed("no room in /dev/shm");
  }
  now_ = Segment(ring.release());
  return absl::OkStatus();
}

absl::StatusOr<std::string> FrameRing::Put(const Picture& picture) {
  RETURN_IF_ERROR(Prepare(picture));
  void* memory = inferpool_frames_begin(now_.get(), picture.bytes->size());
  if (memory == nullptr) return Failed("all slots are being read");
  std::memcpy(memory, picture.bytes->data(), picture.bytes->size());
  const inferpool_frame frame = Described(picture);
  std::array<char, INFERPOOL_FRAMES_TEXT> text{};
  if (inferpool_frames_end(now_.get(), &frame, text.data(), text.size()) != 0) {
    return Failed("no handle");
  }
  if (++written_ >= slots_) before_.reset();
  return std::string(text.data());
}

}  // namespace inferpool::feeder
