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
// Keys that are no streams are looked at again.
constexpr milliseconds kSortOutEvery{2'000};
// Of all shards together, as far as each may have one.
constexpr int kEntriesAtOnce = 1'024;
// Looked at when the follower begins, the newest of each shard.
constexpr int kOldEntriesAtOnce = 6'400;

}  // namespace

Follower::Follower(Options options)
    : options_(std::move(options)),
      read_(static_cast<std::size_t>(options_.shards)),
      left_out_(static_cast<std::size_t>(options_.shards), false),
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
  RETURN_IF_ERROR(SortOut(redis));
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
  for (const std::string& key : keys_) {
    commands.push_back({"XREVRANGE", key, "+", "-", "COUNT", count});
  }
  // All at once, so that they are taken together or not at all, and what comes meanwhile is new.
  ASSIGN_OR_RETURN(const auto replies, redis.CallAll(commands));
  for (const streams::OwnedReply& reply : replies) {
    absl::Status status = (*reply).ToStatus();
    if (!status.ok() && !absl::IsFailedPrecondition(status)) return status;  // no stream: left out
  }
  for (int shard = 0; shard < options_.shards; ++shard) {
    const Reply entries = *replies[static_cast<std::size_t>(shard)];
    for (std::size_t i = entries.size(); i > 0; --i) Take(entries.at(i - 1), shard, true);
  }
  return absl::OkStatus();
}

absl::Status Follower::SortOut(streams::Redis& redis) {
  std::vector<Arguments> commands;
  commands.reserve(keys_.size());
  for (const std::string& key : keys_) commands.push_back({"TYPE", key});
  ASSIGN_OR_RETURN(const auto replies, redis.CallAll(commands));
  sort_out_at_ = TimePoint::max();
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    RETURN_IF_ERROR((*replies[i]).ToStatus());
    const std::string_view type = (*replies[i]).Text();
    const bool is_wrong = type != "stream" && type != "none";
    if (is_wrong) sort_out_at_ = Clock::now() + kSortOutEvery;
    if (is_wrong == left_out_[i]) continue;
    left_out_[i] = is_wrong;
    if (is_wrong) {
      log::Warning("the key of a shard's answers is no stream", {{"key", keys_[i]}});
    } else {
      log::Info("the key of a shard's answers is a stream again", {{"key", keys_[i]}});
    }
  }
  return absl::OkStatus();
}

absl::Status Follower::ReadOn(streams::Redis& redis) {
  if (Clock::now() >= sort_out_at_) RETURN_IF_ERROR(SortOut(redis));
  const bool all_in = sort_out_at_ == TimePoint::max();
  const std::string count = fmt::format("{}", std::max(1, kEntriesAtOnce / options_.shards));
  const std::string block = fmt::format("{}", (all_in ? kBlock : kSortOutEvery).count());
  Arguments command = {"XREAD", "COUNT", count, "BLOCK", block, "STREAMS"};
  std::vector<std::string> ids;
  ids.reserve(read_.size());
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    if (left_out_[i]) continue;
    command.push_back(keys_[i]);
    ids.push_back(read_[i].ToText());
  }
  if (ids.empty()) {
    StopsWithin(kSortOutEvery);
    return absl::OkStatus();
  }
  command.insert(command.end(), ids.begin(), ids.end());
  RETURN_IF_ERROR(redis.Send(command));
  std::array<pollfd, 2> events{{{.fd = redis.fd(), .events = POLLIN, .revents = 0},
                                {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  const int ready = poll(events.data(), events.size(), static_cast<int>(kBlockAndPatience.count()));
  if (events[1].revents != 0) return absl::OkStatus();
  if (ready <= 0) return absl::UnavailableError("Redis did not answer in time");
  ASSIGN_OR_RETURN(const streams::OwnedReply reply, redis.Receive());
  const absl::Status status = (*reply).ToStatus();
  if (absl::IsFailedPrecondition(status)) return SortOut(redis);  // a key became no stream
  RETURN_IF_ERROR(status);
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
