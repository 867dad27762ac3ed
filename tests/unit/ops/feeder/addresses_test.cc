#include "ops/feeder/addresses.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::feeder {
namespace {

TEST(ShownTest, KeepsHostAndPath) {
  EXPECT_EQ(Shown("rtsp://camera.example:554/stream/1"), "rtsp://camera.example:554/stream/1");
  EXPECT_EQ(Shown("http://[::1]:80/video"), "http://[::1]:80/video");
  EXPECT_EQ(Shown("/films/a@b=c.mp4"), "/films/a@b=c.mp4");
  EXPECT_EQ(Shown("rtsp://"), "rtsp://");
}

TEST(ShownTest, HidesUserAndPassword) {
  EXPECT_EQ(Shown("rtsp://admin:secret@10.0.0.7/live"), "rtsp://10.0.0.7/live");
  EXPECT_EQ(Shown("rtsp://admin@10.0.0.7/live"), "rtsp://10.0.0.7/live");
}

TEST(ShownTest, HidesPasswordsThatAreNotEscaped) {
  for (const char* password : {"se/cret", "se@cret", "se?cret", "se#cret", "se:cret", "secret/",
                               "?secret", "secret@", "/secret@x/"}) {
    const std::string shown = Shown("rtsp://admin:" + std::string(password) + "@10.0.0.7/live");
    EXPECT_EQ(shown, "rtsp://10.0.0.7/live") << password;
  }
}

TEST(ShownTest, HidesPasswordsInQueriesAndPaths) {
  for (const char* url :
       {"http://cam/video.cgi?user=admin&pwd=secret",
        "rtsp://cam/user=admin&password=secret&channel=1", "rtsp://cam/live;password=secret/x",
        "http://cam/x?mail=a@b&password=secret", "http://cam/#secret",
        "rtsp://u:p@cam/live/password=secret/secret"}) {
    EXPECT_EQ(Shown(url).find("secret"), std::string::npos) << Shown(url);
    EXPECT_EQ(Shown(url).find("admin"), std::string::npos) << Shown(url);
  }
  EXPECT_EQ(Shown("http://cam/video.cgi?user=admin"), "http://cam/video.cgi?...");
}

TEST(KindOfTest, FollowsTheAddressAndTheDisk) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() + "/a.mp4") << "x";
  EXPECT_EQ(KindOf("rtsp://camera/x"), AddressKind::kUrl);
  EXPECT_EQ(KindOf("/dev/video0"), AddressKind::kDevice);
  EXPECT_EQ(KindOf(folder.path()), AddressKind::kFolder);
  EXPECT_EQ(KindOf(folder.path() + "/a.mp4"), AddressKind::kFile);
  EXPECT_EQ(KindOf("nothing"), AddressKind::kFile);
}

}  // namespace
}  // namespace inferpool::feeder
