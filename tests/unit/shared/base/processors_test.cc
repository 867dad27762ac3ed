#include "shared/base/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/unit/shared/base/child_process.h"

namespace inferpool {
namespace {

using Files = std::map<std::string, std::string>;

std::optional<int> Quota(const Files& files) {
  return ProcessorsByQuota([&files](const std::string& path) -> std::optional<std::string> {
    const auto file = files.find(path);
    if (file == files.end()) return std::nullopt;
    return file->second;
  });
}

// Those of version 2 alone, as on a host of today.
Files Two(const std::string& group, const std::string& root = "/") {
  return {{"/proc/self/cgroup", "0::" + group + "\n"},
          {"/proc/self/mountinfo",
           "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
           "31 22 0:26 " +
               root + " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"}};
}

// Those of version 1, as systemd mounts them.
Files One(const std::string& group, const std::string& root = "/") {
  return {{"/proc/self/cgroup",
           "12:cpuset:/\n4:cpu,cpuacct:" + group + "\n3:memory:/elsewhere\n1:name=systemd:/a\n"},
          {"/proc/self/mountinfo",
           "30 22 0:25 / /sys/fs/cgroup ro shared:8 - tmpfs tmpfs ro,mode=755\n"
           "33 30 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
           "34 30 0:29 " +
               root +
               " /sys/fs/cgroup/cpu,cpuacct rw shared:12 master:3 - cgroup cgroup "
               "rw,cpu,cpuacct\n"}};
}

Files With(Files files, const Files& more) {
  files.insert(more.begin(), more.end());
  return files;
}

TEST(ProcessorsTest, AQuotaOfVersionTwoIsRoundedUp) {
  const std::string file = "/sys/fs/cgroup/app/cpu.max";
  const auto quota = [&file](const std::string& text) {
    return Quota(With(Two("/app"), {{file, text}}));
  };
  EXPECT_EQ(quota("100000 100000\n"), 1);
  EXPECT_EQ(quota("100001 100000\n"), 2);
  EXPECT_EQ(quota("150000 100000\n"), 2);
  EXPECT_EQ(quota("1000 100000\n"), 1);
  EXPECT_EQ(quota("400000 50000"), 8);
  EXPECT_EQ(quota("max 100000\n"), std::nullopt);
}

TEST(ProcessorsTest, AQuotaOfVersionOneIsRoundedUp) {
  const auto quota = [](const std::string& quota_us, const std::string& period_us) {
    return Quota(
        With(One("/app"), {{"/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", quota_us},
                           {"/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", period_us}}));
  };
  EXPECT_EQ(quota("250000\n", "100000\n"), 3);
  EXPECT_EQ(quota("50000\n", "100000\n"), 1);
  EXPECT_EQ(quota("-1\n", "100000\n"), std::nullopt);
}

TEST(ProcessorsTest, TheSmallestQuotaOnTheWayUpCounts) {
  const Files files =
      With(Two("/system.slice/shop.slice/inferpool.service"),
           {{"/sys/fs/cgroup/system.slice/shop.slice/inferpool.service/cpu.max", "max 100000\n"},
            {"/sys/fs/cgroup/system.slice/shop.slice/cpu.max", "300000 100000\n"},
            {"/sys/fs/cgroup/system.slice/cpu.max", "800000 100000\n"}});
  EXPECT_EQ(Quota(files), 3);
  EXPECT_EQ(
      Quota(With(One("/a/b"), {{"/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "400000"},
                               {"/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000"},
                               {"/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "200000"},
                               {"/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000"}})),
      2);
}

TEST(ProcessorsTest, TheQuotaOfTheMountsOwnGroupCounts) {
  // A namespace of control groups: the container's own group is the root of all that it sees.
  EXPECT_EQ(Quota(With(Two("/"), {{"/sys/fs/cgroup/cpu.max", "200000 100000\n"}})), 2);
}

TEST(ProcessorsTest, AContainerWithoutANamespaceOfItsOwnFindsItsGroup) {
  // Docker on version 1: the names are the host's, and the mount begins at the container's group.
  const Files docker = With(One("/docker/1f2e", "/docker/1f2e"),
                            {{"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"},
                             {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}});
  EXPECT_EQ(Quota(docker), 2);
  const Files below = With(One("/docker/1f2e/worker", "/docker/1f2e"),
                           {{"/sys/fs/cgroup/cpu,cpuacct/worker/cpu.cfs_quota_us", "100000\n"},
                            {"/sys/fs/cgroup/cpu,cpuacct/worker/cpu.cfs_period_us", "100000\n"}});
  EXPECT_EQ(Quota(below), 1);
  // The name begins like the mount's root and is not below it.
  EXPECT_EQ(Quota(With(One("/docker/1f2e5", "/docker/1f2e"),
                       {{"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n"},
                        {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}})),
            3);
}

TEST(ProcessorsTest, WhereTheGroupIsHiddenTheMountsOwnGroupCounts) {
  // The host's name is shown, but its folder is not there.
  EXPECT_EQ(Quota(With(Two("/kubepods.slice/pod1/cri-1"),
                       {{"/sys/fs/cgroup/cpu.max", "400000 100000\n"}})),
            4);
  // Above what the namespace shows.
  EXPECT_EQ(Quota(With(Two("/../other"), {{"/sys/fs/cgroup/cpu.max", "400000 100000\n"}})), 4);
  // Such a name is a name like others.
  EXPECT_EQ(Quota(With(Two("/..a"), {{"/sys/fs/cgroup/..a/cpu.max", "300000 100000\n"}})), 3);
}

TEST(ProcessorsTest, AHybridHostHasBothVersions) {
  Files files = One("/app");
  files["/proc/self/cgroup"] += "0::/user.slice/session-1.scope\n";
  files["/proc/self/mountinfo"] +=
      "35 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
  files["/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us"] = "200000\n";
  files["/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us"] = "100000\n";
  EXPECT_EQ(Quota(files), 2);
  files["/sys/fs/cgroup/unified/user.slice/cpu.max"] = "100000 100000\n";
  EXPECT_EQ(Quota(files), 1);
}

TEST(ProcessorsTest, AGroupOfSomebodyElseDoesNotCount) {
  Files files = Two("/app");
  files["/proc/self/mountinfo"] += "50 22 0:26 /other /mnt/other rw - cgroup2 cgroup2 rw\n";
  files["/mnt/other/cpu.max"] = "100000 100000\n";
  EXPECT_EQ(Quota(files), std::nullopt);
}

TEST(ProcessorsTest, NamesMayHaveBlanksAndColons) {
  Files files = Two("/a:b/two words");
  files["/proc/self/mountinfo"] = "31 22 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n";
  files["/mnt/my groups/a:b/two words/cpu.max"] = "100000 100000\n";
  EXPECT_EQ(Quota(files), 1);
}

TEST(ProcessorsTest, WithoutFilesOrNumbersThereIsNoQuota) {
  EXPECT_EQ(Quota({}), std::nullopt);
  EXPECT_EQ(Quota(Two("/app")), std::nullopt);
  EXPECT_EQ(Quota({{"/proc/self/cgroup", "0::/\n"}}), std::nullopt);
  EXPECT_EQ(Quota({{"/proc/self/cgroup", "0::/\n"}, {"/proc/self/mountinfo", " - \n-\n\n - a"}}),
            std::nullopt);
  EXPECT_EQ(Quota({{"/proc/self/cgroup", ":\n0:\n\n::"}, {"/proc/self/mountinfo", "1 2 3"}}),
            std::nullopt);
  for (const char* text : {"", "100000", "100000 ", "100000 0", "-5 100000", "0 100000", "a b",
                           "100000 100000 1", "99999999999999999999 1", " "}) {
    EXPECT_EQ(Quota(With(Two("/app"), {{"/sys/fs/cgroup/app/cpu.max", text}})), std::nullopt)
        << text;
  }
}

TEST(ProcessorsTest, TheAffinityCounts) {
  test::ChildProcess child([] {
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof(all), &all) != 0) return 2;
    const int before = UsableProcessors();
    if (before < 1 || before > CPU_COUNT(&all)) return 3;
    int first = 0;
    while (!CPU_ISSET(first, &all)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0) return 4;
    return UsableProcessors() == 1 ? 0 : 5;
  });
  EXPECT_TRUE(child.Exited(0));
}

}  // namespace
}  // namespace inferpool
