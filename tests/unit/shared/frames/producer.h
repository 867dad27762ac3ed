// A producer in the test's own process.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "shared/frames/handle.h"
#include "shared/frames/inferpool_frames.h"

namespace inferpool::test {

class Producer {
 public:
  Producer(std::uint32_t slots, std::uint64_t bytes) {
    EXPECT_EQ(inferpool_frames_open(&ring_, slots, bytes), 0) << std::strerror(errno);
  }
  ~Producer() { inferpool_frames_close(&ring_); }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // The handle's text of a frame with these bytes; empty when it was dropped.
  std::string Put(std::string_view file, const char* format = "jpeg") {
    return Put(file, {format, 0, 0, 0, file.size()});
  }
  std::string Put(std::string_view bytes, const inferpool_frame& frame) {
    void* memory = inferpool_frames_begin(&ring_, bytes.size());
    if (memory == nullptr) return {};
    std::memcpy(memory, bytes.data(), bytes.size());
    std::array<char, INFERPOOL_FRAMES_TEXT> text{};
    EXPECT_EQ(inferpool_frames_end(&ring_, &frame, text.data(), text.size()), 0);
    return text.data();
  }

  std::string path() const { return std::string(INFERPOOL_FRAMES_FOLDER "/") + ring_.name; }
  std::uint64_t dropped() const { return inferpool_frames_header_of(ring_.memory)->dropped; }
  std::uint64_t written() const { return inferpool_frames_header_of(ring_.memory)->written; }
  inferpool_frames& ring() { return ring_; }

 private:
  inferpool_frames ring_{};
};

// As one that is known to be right.
inline frames::Handle Parsed(std::string_view text) {
  absl::StatusOr<frames::Handle> handle = frames::ParseHandle(text);
  EXPECT_TRUE(handle.ok()) << handle.status() << " of " << text;
  return handle.ok() ? *handle : frames::Handle{};
}

}  // namespace inferpool::test
