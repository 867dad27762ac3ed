// The names of what the pool keeps in Redis. Pure.
//
// Cameras are spread over shards. The shard's name stands in braces, so that Redis Cluster keeps
// all keys of a shard in one slot, where one script can change them together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace inferpool::streams {

// The consumer group of all frames' streams, and its only consumer: the lease of a shard says which
// process may act for it.
inline constexpr std::string_view kGroup = "inferpool";
inline constexpr std::string_view kConsumer = "owner";
// A sorted set of the processes that share the shards, by their latest heartbeat.
inline constexpr std::string_view kConsumers = "inferpool:consumers";
// The channel on which a process says that it has come, has left, or has let go of a shard.
inline constexpr std::string_view kChanges = "inferpool:changes";

// The consumer group of those that go by the rules for answers, and the key of the lease that one
// of their processes has at a time.
inline constexpr std::string_view kRulesGroup = "inferpool-rules";
inline constexpr std::string_view kRulesLease = "inferpool:rules";

// The shard of a camera: FNV-1a of 64 bits over the id's bytes, modulo `shards`. Producers compute
// the same, so it never changes.
int ShardOf(std::string_view camera, int shards);

// True for 1 to 128 bytes of UTF-8 without control characters.
bool IsCameraId(std::string_view id);

// "{s07}"
std::string ShardTag(int shard);

std::string FramesKey(int shard, std::string_view camera);  // a camera's stream of frames
std::string ResultsKey(int shard);
std::string LedgerKey(int shard);
std::string LeaseKey(int shard);
std::string DeadKey(int shard);
// A hash of how many results consumer groups have lost: `all`, and `group:NAME` of each.
std::string LossesKey(int shard);
// There while somebody looks at a camera, and its latest picture with what was found drawn into it.
std::string LookKey(int shard, std::string_view camera);
std::string SnapshotKey(int shard, std::string_view camera);
// The token of the process that goes by the rules, the events that receivers are still to be told
// of, and when a rule last met a camera's answer.
std::string RulesOwnerKey(int shard);
std::string EventsKey(int shard);
std::string HeldKey(int shard, std::string_view rule, std::string_view camera);

// A hash of a shard and a process, for fair shares.
std::uint64_t PairHash(int shard, std::string_view process);

}  // namespace inferpool::streams
