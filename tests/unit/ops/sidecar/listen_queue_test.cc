#include "ops/sidecar/listen_queue.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fcgi/pool/listener.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::ops {
namespace {

std::uint64_t InodeOf(int fd) {
  struct stat info {};
  EXPECT_EQ(fstat(fd, &info), 0);
  return info.st_ino;
}

TEST(ListenQueueTest, CountsWhoWaitsForAnAccept) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "pool.sock";
  const auto listener = fcgi::ListenUnix(path, 33);
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::uint64_t inode = InodeOf(listener->get());
  std::vector<FileDescriptor> clients;
  for (std::uint32_t waiting = 0; waiting < 5; ++waiting) {
    const auto queue = ReadListenQueue(inode);
    ASSERT_TRUE(queue);
    EXPECT_EQ(queue->waiting, waiting);
    EXPECT_EQ(queue->max, 33U);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    clients.emplace_back(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(
        connect(clients.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
        0);
  }
  const FileDescriptor accepted(accept(listener->get(), nullptr, nullptr));
  EXPECT_EQ(ReadListenQueue(inode)->waiting, 4U);
}

TEST(ListenQueueTest, WhatListensNotHasNone) {
  EXPECT_FALSE(ReadListenQueue(0));
  const test::TemporaryFolder folder;
  std::uint64_t inode = 0;
  {
    const auto listener = fcgi::ListenUnix(folder / "pool.sock", 5);
    ASSERT_TRUE(listener.ok());
    inode = InodeOf(listener->get());
  }
  EXPECT_FALSE(ReadListenQueue(inode)) << "it is closed";
}

}  // namespace
}  // namespace inferpool::ops
