#include "ops/feeder/frame_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "shared/frames/segments.h"

namespace inferpool::feeder {
namespace {

Picture File(std::string bytes) {
  return {.bytes = std::make_shared<const std::string>(std::move(bytes))};
}

Picture Pixels(int width, int height, char value) {
  Picture picture = File(
      std::string(3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height), value));
  picture.width = width;
  picture.height = height;
  return picture;
}

class FrameRingTest : public testing::Test {
 protected:
  frames::Handle Put(FrameRing& ring, const Picture& picture) {
    const auto text = ring.Put(picture);
    EXPECT_TRUE(text.ok()) << text.status();
    const auto handle = frames::ParseHandle(text.value_or(""));
    EXPECT_TRUE(handle.ok()) << handle.status();
    return handle.value_or(frames::Handle{});
  }
  // Its bytes as a reader finds them; "gone".
  std::string Read(const frames::Handle& handle) {
    const auto pin = segments_.Get(handle, Clock::now());
    if (!pin.ok()) return "gone";
    return {reinterpret_cast<const char*>(pin->bytes().data()), pin->bytes().size()};
  }

  frames::Segments segments_;
};

TEST_F(FrameRingTest, FilesSayWhatTheyAre) {
  FrameRing ring(4);
  EXPECT_EQ(Put(ring, File("\xff\xd8\xff...")).format, frames::Format::kJpeg);
  EXPECT_EQ(Put(ring, File("\x89PNG...")).format, frames::Format::kPng);
  const frames::Handle webp = Put(ring, File("RIFF....WEBP"));
  EXPECT_EQ(webp.format, frames::Format::kWebp);
  EXPECT_EQ(Read(webp), "RIFF....WEBP");
}

TEST_F(FrameRingTest, PixelsHaveTheirSize) {
  FrameRing ring(4);
  const frames::Handle handle = Put(ring, Pixels(6, 4, 'p'));
  EXPECT_EQ(handle.format, frames::Format::kBgr);
  EXPECT_EQ(handle.width, 6);
  EXPECT_EQ(handle.height, 4);
  EXPECT_EQ(handle.stride, 18U);
  EXPECT_EQ(Read(handle), std::string(72, 'p'));
}

TEST_F(FrameRingTest, AnotherSizeIsAnotherSegmentAndTheOneBeforeStaysForAWhile) {
  FrameRing ring(3);
  const frames::Handle small = Put(ring, Pixels(64, 64, 'a'));
  const frames::Handle large = Put(ring, Pixels(640, 64, 'b'));
  EXPECT_NE(small.segment, large.segment);
  EXPECT_EQ(Read(small), std::string(3 * 64 * 64, 'a'));
  Put(ring, Pixels(640, 64, 'c'));
  Put(ring, Pixels(640, 64, 'd'));
  frames::Segments later;
  EXPECT_FALSE(later.Get(small, Clock::now()).ok());
  EXPECT_EQ(Read(large), std::string(3 * 640 * 64, 'b'));
}

TEST_F(FrameRingTest, FilesThatGrowALittleStayInTheirSegment) {
  FrameRing ring(3);
  const frames::Handle first = Put(ring, File(std::string(100'000, 'a')));
  EXPECT_EQ(Put(ring, File(std::string(190'000, 'b'))).segment, first.segment);
  EXPECT_EQ(Put(ring, File("c")).segment, first.segment);
  EXPECT_NE(Put(ring, File(std::string(300'000, 'd'))).segment, first.segment);
}

TEST_F(FrameRingTest, WhenAllSlotsAreReadThePictureIsDropped) {
  FrameRing ring(1);
  {
    const auto pin = segments_.Get(Put(ring, File("first")), Clock::now());
    ASSERT_TRUE(pin.ok());
    EXPECT_TRUE(absl::IsResourceExhausted(ring.Put(File("second")).status()));
  }
  EXPECT_EQ(Read(Put(ring, File("third"))), "third");
}

}  // namespace
}  // namespace inferpool::feeder
