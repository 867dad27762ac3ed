#include "shared/base/listen.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

namespace inferpool {
namespace {

constexpr int kBacklog = 8;

absl::StatusOr<FileDescriptor> Listen(const std::string& host, int port = 0,
                                      bool ipv6_only = false) {
  return ListenTcp(
      {.host = host, .port = std::to_string(port), .backlog = kBacklog, .ipv6_only = ipv6_only});
}

int PortOf(const FileDescriptor& listener) {
  sockaddr_in6 address{};  // the port of an IPv4 address is at the same place
  socklen_t size = sizeof(address);
  EXPECT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin6_port);
}

bool ConnectsByIpv4(int port) {
  const FileDescriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

TEST(ListenTest, ListensOnTheAddressAndPort) {
  const auto any = Listen("127.0.0.1");
  ASSERT_TRUE(any.ok()) << any.status();
  EXPECT_GT(PortOf(*any), 0);
  EXPECT_TRUE(fcntl(any->get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_TRUE(fcntl(any->get(), F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(ConnectsByIpv4(PortOf(*any)));
}

TEST(ListenTest, ListensOnIpv6) {
  const auto loopback = Listen("::1");
  ASSERT_TRUE(loopback.ok()) << loopback.status();
  EXPECT_FALSE(ConnectsByIpv4(PortOf(*loopback)));
  const auto both = Listen("::");
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_TRUE(ConnectsByIpv4(PortOf(*both)));
  const auto only = Listen("::", 0, /*ipv6_only=*/true);
  ASSERT_TRUE(only.ok()) << only.status();
  EXPECT_FALSE(ConnectsByIpv4(PortOf(*only)));
}

TEST(ListenTest, APortInUseIsAnErrorThatNamesIt) {
  for (const std::string host : {"127.0.0.1", "::1"}) {
    const auto first = Listen(host);
    ASSERT_TRUE(first.ok());
    const int port = PortOf(*first);
    const auto second = Listen(host, port);
    EXPECT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
    EXPECT_NE(std::string(Message(second.status())).find(HostAndPort(host, std::to_string(port))),
              std::string::npos);
  }
}

TEST(ListenTest, APortOfAServerThatHasGoneIsFreeAtOnce) {
  int port = 0;
  {
    const auto first = Listen("127.0.0.1");
    ASSERT_TRUE(first.ok());
    port = PortOf(*first);
  }
  EXPECT_TRUE(Listen("127.0.0.1", port).ok());
}

TEST(ListenTest, WhatIsNoAddressIsAnError) {
  for (const char* address : {"256.0.0.1", "127.0.0.1:80", "[::1]"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Listen(address).status())) << address;
  }
  EXPECT_TRUE(absl::IsInternal(Listen("192.0.2.1").status()));  // nobody here has it (RFC 5737)
}

TEST(ListenTest, AnIpv6AddressHasBracketsBeforeItsPort) {
  EXPECT_EQ(HostAndPort("::1", "80"), "[::1]:80");
  EXPECT_EQ(HostAndPort("127.0.0.1", "80"), "127.0.0.1:80");
  EXPECT_EQ(HostAndPort("example.org", "80"), "example.org:80");
}

}  // namespace
}  // namespace inferpool
