#include "shared/base/grpc_address.h"

#include <gtest/gtest.h>

namespace inferpool {
namespace {

TEST(GrpcAddressTest, ThePathOfAUnixSocketHasNothingThatAUriGivesAMeaning) {
  EXPECT_EQ(GrpcAddress("unix:/run/%41 b?c#d/m.sock"), "unix:/run/%2541 b%3Fc%23d/m.sock");
  EXPECT_EQ(GrpcAddress("unix:/run/Z\u00fcrich'\"+:;/m.sock"),
            "unix:/run/Z\u00fcrich'\"+:;/m.sock");
  EXPECT_EQ(GrpcAddress("unix:///run/100%/m.sock"), "unix:///run/100%25/m.sock");
}

TEST(GrpcAddressTest, OtherAddressesStayAsTheyAre) {
  for (const char* address : {"10.0.0.1:8001", "[::1]:8001", "dns:///triton:8001",
                              "unix-abstract:a%00b", "dns:a%b", ""}) {
    EXPECT_EQ(GrpcAddress(address), address);
  }
}

TEST(GrpcAddressTest, ASocketsPathFollowsUnix) {
  EXPECT_EQ(UnixSocketPath("unix:/run/%41/m.sock"), "/run/%41/m.sock");
  EXPECT_EQ(UnixSocketPath("unix:///run/m.sock"), "/run/m.sock");
  EXPECT_EQ(UnixSocketPath("unix:m.sock"), "m.sock");
  EXPECT_EQ(UnixSocketPath("dns:///triton:8001"), "");
  EXPECT_EQ(UnixSocketPath("unix-abstract:name"), "");
}

}  // namespace
}  // namespace inferpool
