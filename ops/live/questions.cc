#include "ops/live/questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "shared/redis/names.h"

namespace inferpool::live {
namespace {

using streams::Arguments;
using streams::OwnedReply;
using streams::Reply;

constexpr std::chrono::milliseconds kSparedFor{500};
// Commands that are sent before their answers are read.
constexpr std::size_t kAtOnce = 1'000;
// Entries of a look at a stream of results; as text, for Redis.
constexpr std::size_t kPage = 100;
constexpr std::string_view kPageText = "100";
constexpr std::string_view kLookMs = "10000";

Counts CountsFrom(const Reply& ledger, const Reply& waiting) {
  Counts counts;
  if (ledger.size() == kLedgerFields.size()) {
    Ledger found{};
    bool is_there = false;
    for (std::size_t i = 0; i < found.size(); ++i) {
      is_there = is_there || !ledger.at(i).IsNil();
      found[i] = ledger.at(i).Number();
    }
    if (is_there) counts.ledger = found;
  }
  if (waiting.ToStatus().ok()) counts.waiting = waiting.Number();
  return counts;
}

}  // namespace

std::optional<Answer> AnswerOf(const Reply& entry) {
  if (entry.size() != 2) return std::nullopt;
  const auto id = ParseEntryId(entry.at(0).Text());
  if (!id) return std::nullopt;
  const Reply list = entry.at(1);
  std::vector<EntryField> fields;
  fields.reserve(list.size() / 2);
  for (std::size_t i = 0; i + 1 < list.size(); i += 2) {
    fields.emplace_back(list.at(i).Text(), list.at(i + 1).Text());
  }
  return ParseAnswer(*id, fields);
}

absl::StatusOr<std::vector<OwnedReply>> Questions::Ask(std::span<const Arguments> commands) {
  const MutexLock lock(mutex_);
  if (!redis_) {
    if (Clock::now() < away_until_) return absl::UnavailableError("Redis is away");
    auto redis = streams::Redis::Connect(address_);
    if (!redis.ok()) {
      away_until_ = Clock::now() + kSparedFor;
      return redis.status();
    }
    redis_ = *std::move(redis);
  }
  std::vector<OwnedReply> replies;
  replies.reserve(commands.size());
  while (!commands.empty()) {
    const auto some = commands.first(std::min(commands.size(), kAtOnce));
    auto answered = redis_->CallAll(some);
    if (!answered.ok()) {
      redis_.reset();
      away_until_ = Clock::now() + kSparedFor;
      return answered.status();
    }
    std::ranges::move(*answered, std::back_inserter(replies));
    commands = commands.subspan(some.size());
  }
  return replies;
}

absl::StatusOr<std::vector<std::string>> Questions::Members(std::size_t most) {
  if (camera_set_.empty()) return std::vector<std::string>();
  // SMEMBERS would answer with all of a set of any size.
  const std::string count = fmt::format("{}", most);
  const Arguments command = {"SRANDMEMBER", camera_set_, count};
  ASSIGN_OR_RETURN(const auto replies, Ask(std::span(&command, 1)));
  const Reply members = *replies.front();
  RETURN_IF_ERROR(members.ToStatus());
  std::vector<std::string> cameras;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (streams::IsCameraId(members.at(i).Text())) cameras.emplace_back(members.at(i).Text());
  }
  return cameras;
}

absl::StatusOr<bool> Questions::IsMember(std::string_view camera) {
  if (camera_set_.empty()) return false;
  const Arguments command = {"SISMEMBER", camera_set_, camera};
  ASSIGN_OR_RETURN(const auto replies, Ask(std::span(&command, 1)));
  RETURN_IF_ERROR((*replies.front()).ToStatus());
  return (*replies.front()).Number() == 1;
}

absl::StatusOr<std::vector<Counts>> Questions::CountsOf(std::span<const std::string> cameras) {
  // The commands view what is here.
  std::vector<std::string> texts;
  texts.reserve(cameras.size() * (2 + kLedgerFields.size()));
  std::vector<Arguments> commands;
  commands.reserve(2 * cameras.size());
  for (const std::string& camera : cameras) {
    const int shard = streams::ShardOf(camera, shards_);
    Arguments ledger = {"HMGET", texts.emplace_back(streams::LedgerKey(shard))};
    for (const std::string_view field : kLedgerFields) {
      ledger.push_back(texts.emplace_back(fmt::format("{}:{}", camera, field)));
    }
    commands.push_back(std::move(ledger));
    commands.push_back({"XLEN", texts.emplace_back(streams::FramesKey(shard, camera))});
  }
  ASSIGN_OR_RETURN(const auto replies, Ask(commands));
  std::vector<Counts> counts;
  counts.reserve(cameras.size());
  for (std::size_t i = 0; i < cameras.size(); ++i) {
    counts.push_back(CountsFrom(*replies[2 * i], *replies[2 * i + 1]));
  }
  return counts;
}

absl::StatusOr<std::string> Questions::Snapshot(std::string_view camera) {
  const int shard = streams::ShardOf(camera, shards_);
  const std::string look = streams::LookKey(shard, camera);
  const std::string snapshot = streams::SnapshotKey(shard, camera);
  const std::array<Arguments, 2> commands = {
      {{"SET", look, "1", "PX", kLookMs}, {"GET", snapshot}}};
  ASSIGN_OR_RETURN(const auto replies, Ask(commands));
  RETURN_IF_ERROR((*replies[1]).ToStatus());
  return std::string((*replies[1]).Text());
}

absl::StatusOr<HistoryPage> Questions::History(std::string_view camera, EntryId after) {
  const std::string results = streams::ResultsKey(streams::ShardOf(camera, shards_));
  const std::string from = "(" + after.ToText();
  const std::array<Arguments, 2> commands = {{{"XRANGE", results, from, "+", "COUNT", kPageText},
                                              {"XRANGE", results, "-", "+", "COUNT", "1"}}};
  ASSIGN_OR_RETURN(const auto replies, Ask(commands));
  const Reply entries = *replies[0];
  RETURN_IF_ERROR(entries.ToStatus());
  HistoryPage page{.last = after, .is_last = entries.size() < kPage};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries.at(i).size() != 2) continue;
    page.last = std::max(page.last, ParseEntryId(entries.at(i).at(0).Text()).value_or(page.last));
    std::optional<Answer> answer = AnswerOf(entries.at(i));
    if (answer && answer->camera == camera) page.answers.push_back(*std::move(answer));
  }
  const Reply first = *replies[1];
  if (first.size() == 1 && first.at(0).size() == 2) {
    const auto oldest = ParseEntryId(first.at(0).at(0).Text());
    page.is_incomplete = oldest && *oldest > after && after != EntryId();
  }
  return page;
}

}  // namespace inferpool::live
