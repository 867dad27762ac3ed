#include "worker/streams/shares.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace inferpool::streams {
namespace {

std::map<int, std::string> Owners(const std::vector<std::string>& processes, int shards) {
  std::map<int, std::string> owners;
  for (const std::string& process : processes) {
    for (const int shard : ShareOf(process, processes, shards)) {
      EXPECT_TRUE(owners.emplace(shard, process).second) << "two owners of " << shard;
    }
  }
  EXPECT_EQ(owners.size(), processes.empty() ? 0 : shards);
  return owners;
}

TEST(SharesTest, EachShardHasOneProcessAndSharesAreEven) {
  for (int count = 1; count <= 40; ++count) {
    std::vector<std::string> processes;
    for (int i = 0; i < count; ++i) processes.push_back(fmt::format("host:{}", 100 + 7 * i));
    static_cast<void>(Owners(processes, 32));
    for (const std::string& process : processes) {
      const int share = static_cast<int>(ShareOf(process, processes, 32).size());
      EXPECT_GE(share, 32 / count);
      EXPECT_LE(share, 32 / count + 1);
    }
  }
}

TEST(SharesTest, WhoIsNotAmongThemHasNone) {
  EXPECT_TRUE(ShareOf("me", std::vector<std::string>{"other"}, 32).empty());
  EXPECT_TRUE(ShareOf("me", std::vector<std::string>{}, 32).empty());
}

TEST(SharesTest, TheOrderInWhichTheyAreNamedDoesNotMatter) {
  std::vector<std::string> processes = {"c", "a", "b"};
  const auto owners = Owners(processes, 32);
  std::ranges::sort(processes);
  EXPECT_EQ(Owners(processes, 32), owners);
}

TEST(SharesTest, MostShardsStayWhenAProcessComes) {
  std::vector<std::string> processes = {"a", "b", "c"};
  const auto before = Owners(processes, 32);
  processes.emplace_back("d");
  const auto after = Owners(processes, 32);
  const auto moved = std::ranges::count_if(
      before, [&](const auto& entry) { return after.at(entry.first) != entry.second; });
  EXPECT_GE(moved, 8);   // the new one's share
  EXPECT_LE(moved, 16);  // and few others
}

}  // namespace
}  // namespace inferpool::streams
