#include "worker/streams/onlookers.h"

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shared/redis/names.h"

namespace inferpool::streams {
namespace {

constexpr std::string_view kSnapshotLasts = "10000";  // milliseconds

}  // namespace

absl::Status SeeWhoLooks(Redis& redis, const Schedule& schedule, Looks& looks, TimePoint now) {
  looks.Tidy(now);
  std::map<int, std::vector<std::string_view>> cameras;  // by shard
  for (const auto& [id, camera] : schedule.cameras()) cameras[camera.shard].push_back(id);
  std::deque<std::string> keys;
  std::vector<Arguments> commands;
  for (const auto& [shard, ids] : cameras) {
    Arguments& command = commands.emplace_back(Arguments{"MGET"});
    for (const std::string_view id : ids) command.push_back(keys.emplace_back(LookKey(shard, id)));
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis.CallAll(commands));
  std::size_t next = 0;
  for (const auto& [shard, ids] : cameras) {
    const Reply seen = *replies[next++];
    for (std::size_t i = 0; i < seen.size() && i < ids.size(); ++i) {
      if (!seen.at(i).IsNil()) looks.Seen(ids[i], now);
    }
  }
  return absl::OkStatus();
}

absl::Status StoreSnapshots(Redis& redis, const Leases& leases, std::span<const Outcome> outcomes) {
  std::deque<std::string> keys;
  std::vector<Arguments> commands;
  for (const Outcome& outcome : outcomes) {
    const Frame& frame = outcome.frame;
    if (outcome.snapshot.empty() || !leases.Has(frame.shard)) continue;
    commands.push_back({"SET", keys.emplace_back(SnapshotKey(frame.shard, frame.camera)),
                        outcome.snapshot, "PX", kSnapshotLasts});
  }
  return commands.empty() ? absl::OkStatus() : redis.CallAll(commands).status();
}

}  // namespace inferpool::streams
