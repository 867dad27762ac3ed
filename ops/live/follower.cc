#include "ops/live/follower.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <utility>

#include "ops/live/questions.h"
#include "shared/base/deadline.h"
#include "shared/base/log.h"
#include "shared/base/pauses.h"
#include "shared/redis/names.h"

namespace inferpool::live {
namespace {

using std::chrono::milliseconds;
using streams::Arguments;
using streams::Reply;

// Redis answers after so long at the latest, so that a connection that is dead is found out.
constexpr milliseconds kBlock{5'000};
constexpr milliseconds kBlockAndPatience{8'000};
// Two reads are at least so far apart: under load each has many answers.
constexpr milliseconds kGather{20};
// Of all shards together, as far as each may have one.
constexpr int kEntriesAtOnce = 1'024;
// Looked at when the follower begins, the newest of each shard.
constexpr int kOldEntriesAtOnce = 6'400;

}  // namespace

Follower::Follower(Options options)
    : options_(std::move(options)),
      read_(static_cast<std::size_t>(options_.shards)),
      stop_(eventfd(0, EFD_CLOEXEC)) {
  for (int shard = 0; shard < options_.shards; ++shard) {
    keys_.push_back(streams::ResultsKey(shard));
  }
  thread_ = std::thread(&Follower::Run, this);
}

Follower::~Follower() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

bool Follower::StopsWithin(milliseconds time) const {
  pollfd event{.fd = stop_.get(), .events = POLLIN, .revents = 0};
  return poll(&event, 1, static_cast<int>(std::max<milliseconds::rep>(time.count(), 0))) > 0;
}

void Follower::SayAway(const absl::Status& status) {
  is_connected_.store(false, std::memory_order_relaxed);
  if (std::exchange(said_away_, true)) return;
  log::Warning("Redis is away: cameras' answers are not followed", {{"reason", Message(status)}});
}

void Follower::Run() {
  Pauses pauses(std::random_device{}());
  do {
    const absl::Status status = Follow();
    if (status.ok()) return;
    if (is_connected()) pauses.Reset();
    SayAway(status);
  } while (!StopsWithin(pauses.Next()));
}

absl::Status Follower::Follow() {
  ASSIGN_OR_RETURN(streams::Redis redis, streams::Redis::Connect(options_.address));
  if (!has_begun_) {
    RETURN_IF_ERROR(FindNewest(redis));
    has_begun_ = true;
  }
  is_connected_.store(true, std::memory_order_relaxed);
  if (std::exchange(said_away_, false)) log::Info("Redis is back");
  while (true) {
    const TimePoint begin = Clock::now();
    RETURN_IF_ERROR(ReadOn(redis));
    options_.idle();
    const auto left = Deadline(begin + kGather).Left(Clock::now());
    if (StopsWithin(std::chrono::ceil<milliseconds>(left))) return absl::OkStatus();
  }
}

void Follower::Take(const Reply& entry, int shard, bool is_old) {
  if (entry.size() == 0) return;
  EntryId& read = read_[static_cast<std::size_t>(shard)];
  read = std::max(read, ParseEntryId(entry.at(0).Text()).value_or(read));
  std::optional<Answer> answer = AnswerOf(entry);
  // Another shard's would not be found where its camera's history is looked for.
  if (!answer || streams::ShardOf(answer->camera, options_.shards) != shard) return;
  options_.take(std::make_shared<const Answer>(*std::move(answer)), is_old);
}

absl::Status Follower::FindNewest(streams::Redis& redis) {
  const std::string count = fmt::format("{}", std::max(1, kOldEntriesAtOnce / options_.shards));
  std::vector<Arguments> commands;
  commands.reserve(keys_.size());
  for (const std::string& key : keys_)
    commands.push_back({"XREVRANGE", key, "+", "-", "COUNT", count});
  // All at once, so that they are taken together or not at all, and what comes meanwhile is new.
  ASSIGN_OR_RETURN(const auto replies, redis.CallAll(commands));
  for (const streams::OwnedReply& reply : replies) RETURN_IF_ERROR((*reply).ToStatus());
  for (int shard = 0; shard < options_.shards; ++shard) {
    const Reply entries = *replies[static_cast<std::size_t>(shard)];
    for (std::size_t i = entries.size(); i > 0; --i) Take(entries.at(i - 1), shard, true);
  }
  return absl::OkStatus();
}

absl::Status Follower::ReadOn(streams::Redis& redis) {
  const std::string count = fmt::format("{}", std::max(1, kEntriesAtOnce / options_.shards));
  const std::string block = fmt::format("{}", kBlock.count());
  Arguments command = {"XREAD", "COUNT", count, "BLOCK", block, "STREAMS"};
  command.insert(command.end(), keys_.begin(), keys_.end());
  std::vector<std::string> ids;
  ids.reserve(read_.size());
  for (const EntryId& id : read_) command.push_back(ids.emplace_back(id.ToText()));
  RETURN_IF_ERROR(redis.Send(command));
  std::array<pollfd, 2> events{{{.fd = redis.fd(), .events = POLLIN, .revents = 0},
                                {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  const int ready = poll(events.data(), events.size(), static_cast<int>(kBlockAndPatience.count()));
  if (events[1].revents != 0) return absl::OkStatus();
  if (ready <= 0) return absl::UnavailableError("Redis did not answer in time");
  ASSIGN_OR_RETURN(const streams::OwnedReply reply, redis.Receive());
  RETURN_IF_ERROR((*reply).ToStatus());
  for (std::size_t i = 0; i < (*reply).size(); ++i) {
    const Reply stream = (*reply).at(i);
    const auto key = std::ranges::find(keys_, stream.at(0).Text());
    if (key == keys_.end()) continue;
    const auto shard = static_cast<int>(key - keys_.begin());
    for (std::size_t n = 0; n < stream.at(1).size(); ++n) Take(stream.at(1).at(n), shard, false);
  }
  return absl::OkStatus();
}

}  // namespace inferpool::live
