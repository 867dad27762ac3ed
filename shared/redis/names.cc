#include "shared/redis/names.h"

#include <fmt/format.h>

#include <algorithm>

#include "shared/base/utf8.h"

namespace inferpool::streams {
namespace {

constexpr std::size_t kMaxCameraId = 128;

// Fowler, Noll and Vo's hash, variant 1a, of 64 bits.
std::uint64_t Fnv1a(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace

int ShardOf(std::string_view camera, int shards) {
  return static_cast<int>(Fnv1a(camera) % static_cast<std::uint64_t>(shards));
}

bool IsCameraId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxCameraId && IsUtf8(id) &&
         std::ranges::none_of(
             id, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::string ShardTag(int shard) {
  return fmt::format("{{s{:02}}}", shard);
}

std::string FramesKey(int shard, std::string_view camera) {
  return fmt::format("{}:cam:{}", ShardTag(shard), camera);
}

std::string ResultsKey(int shard) {
  return ShardTag(shard) + ":results";
}

std::string LedgerKey(int shard) {
  return ShardTag(shard) + ":ledger";
}

std::string LeaseKey(int shard) {
  return ShardTag(shard) + ":lease";
}

std::string LossesKey(int shard) {
  return ShardTag(shard) + ":losses";
}

std::string DeadKey(int shard) {
  return ShardTag(shard) + ":dead";
}

std::string LookKey(int shard, std::string_view camera) {
  return fmt::format("{}:look:{}", ShardTag(shard), camera);
}

std::string SnapshotKey(int shard, std::string_view camera) {
  return fmt::format("{}:snap:{}", ShardTag(shard), camera);
}

std::string RulesOwnerKey(int shard) {
  return ShardTag(shard) + ":rules";
}

std::string EventsKey(int shard) {
  return ShardTag(shard) + ":events";
}

std::string HeldKey(int shard, std::string_view rule, std::string_view camera) {
  return fmt::format("{}:held:{}:{}", ShardTag(shard), rule, camera);
}

std::uint64_t PairHash(int shard, std::string_view process) {
  // FNV's last bytes barely reach the upper bits, which decide here: they are mixed in afterwards.
  std::uint64_t hash = Fnv1a(fmt::format("{}|{}", process, shard));
  hash ^= hash >> 33U;
  hash *= 0xff51afd7ed558ccd;
  hash ^= hash >> 33U;
  return hash;
}

}  // namespace inferpool::streams
