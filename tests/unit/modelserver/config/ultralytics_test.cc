#include "modelserver/config/ultralytics.h"

#include <gtest/gtest.h>

namespace inferpool::modelserver {
namespace {

TEST(UltralyticsSizes, AreHeightAndWidth) {
  const auto size = ParseUltralyticsSize("[480, 640]");
  ASSERT_TRUE(size.has_value());
  EXPECT_EQ(size->height, 480);
  EXPECT_EQ(size->width, 640);
  for (const char* text : {"", "640", "[640]", "[640, ]", "[0, 640]", "[640, -1]", "[640, 65536]",
                           "[640, 640", "[640, 99999999999999999999]", "(640, 640)"}) {
    EXPECT_FALSE(ParseUltralyticsSize(text).has_value()) << text;
  }
}

TEST(UltralyticsArgs, SayWhetherTheNetSuppressesDuplicates) {
  EXPECT_TRUE(SaysNms("{'batch': 1, 'half': False, 'nms': True, 'opset': 17}"));
  EXPECT_TRUE(SaysNms("{'nms':True}"));
  for (const char* text : {"", "{'batch': 1}", "{'nms': None, 'dynamic': True}", "{'nms': False}",
                           "{'nms':", "{'agnostic_nms': True}"}) {
    EXPECT_FALSE(SaysNms(text)) << text;
  }
}

}  // namespace
}  // namespace inferpool::modelserver
