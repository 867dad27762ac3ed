#include "ops/rules/reader.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <random>
#include <utility>

#include "ops/rules/answer.h"
#include "ops/rules/rule.h"
#include "ops/rules/scripts.h"
#include "shared/base/log.h"
#include "shared/base/pauses.h"
#include "shared/redis/names.h"
#include "worker/streams/scripts.h"

namespace inferpool::rules {
namespace {

using std::chrono::milliseconds;
using streams::Arguments;
using streams::OwnedReply;
using streams::Redis;
using streams::Reply;

constexpr std::string_view kLeaseMs = "3000";
constexpr milliseconds kRenewEvery{1'000};
constexpr milliseconds kTryEvery{500};
// An answer that went to an owner before us while he lost the lease is found after so long.
constexpr milliseconds kPendingEvery{5'000};
constexpr std::string_view kBlockMs = "5000";
constexpr milliseconds kBlockAndPatience{8'000};
// Two reads are at least so far apart: under load each has many answers.
constexpr milliseconds kGather{20};
// Of all shards together, as far as each may have one.
constexpr int kEntriesAtOnce = 1'024;
constexpr std::size_t kEventsAtOnce = 500;
constexpr std::string_view kEventsAtOnceText = "500";
constexpr std::string_view kNewGroupsBegin = "$";
// A wrong key may stand in the way of all of a shard's events.
constexpr milliseconds kSayLostEvery{60'000};

std::string RandomText() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

std::vector<Field> FieldsOf(const Reply& list) {
  std::vector<Field> fields;
  for (std::size_t i = 0; i + 1 < list.size(); i += 2) {
    fields.emplace_back(list.at(i).Text(), list.at(i + 1).Text());
  }
  return fields;
}

std::string_view FieldOf(const std::vector<Field>& fields, std::string_view name) {
  const auto found = std::ranges::find(fields, name, &Field::first);
  return found == fields.end() ? std::string_view() : found->second;
}

// A group was lost, or a key is no stream any more.
bool IsToOwnAgain(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

std::int64_t ToNumber(std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.begin(), text.end(), number);
  return number;
}

}  // namespace

// What the rules make of some answers, on the way to Redis: calls of the script for answers that
// meet a rule, and one XACK a shard for the others.
class Reader::Notes {
 public:
  Notes(const Options& options, std::string_view token) : options_(options), token_(token) {}

  void Add(int shard, const Reply& entry) {
    ++entries_;
    const std::string_view id = entry.at(0).Text();
    // One that MAXLEN has taken away has no fields.
    const auto answer = entry.size() < 2 ? std::nullopt : ParseAnswer(id, FieldsOf(entry.at(1)));
    std::vector<Match> matches;
    if (answer) matches = Judge(options_.rules, *answer);
    if (matches.empty()) {
      nothing_[shard].push_back(id);
      return;
    }
    Redis::ScriptCall& call = calls_.emplace_back(Redis::ScriptCall{
        .script = &NoteScript(),
        .keys = {Keep(streams::RulesOwnerKey(shard)), Keep(streams::ResultsKey(shard)),
                 Keep(streams::EventsKey(shard))},
        .arguments = {token_, streams::kRulesGroup, id, Keep(fmt::format("{}", answer->at_ms))}});
    std::vector<Event>& events = events_.emplace_back();
    for (const Match& match : matches) {
      const std::int64_t hold_off_ms =
          std::int64_t{options_.rules.at(match.rule).hold_off_s} * 1'000;
      Event& event = events.emplace_back(
          Event{.id = EventId(match.rule, shard, *answer), .shard = shard, .at_ms = answer->at_ms});
      event.json = EventJson(event.id, match, *answer);
      call.keys.push_back(Keep(streams::HeldKey(shard, match.rule, answer->camera)));
      call.arguments.insert(call.arguments.end(),
                            {Keep(match.rule), Keep(fmt::format("{}", hold_off_ms)), Keep(event.id),
                             Keep(event.json)});
      rules_.push_back(match.rule);
    }
  }

  // Settles all of it, and tells `put` of the events that are new. An answer whose events cannot be
  // noted, as a key of its shard is of another type, is settled without them: the others go on.
  template <typename Put>
  absl::Status Settle(Redis& redis, const Put& put) {
    if (!calls_.empty()) {
      ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis.RunAll(calls_));
      absl::Status problem;
      std::size_t rule = 0;
      for (std::size_t i = 0; i < calls_.size(); ++i) {
        const Reply noted = *replies[i];
        const absl::Status status = noted.ToStatus();
        const bool is_lost = absl::IsFailedPrecondition(status);
        if (is_lost) {
          lost_ = Message(status);
          nothing_[events_[i].front().shard].push_back(calls_[i].arguments[kIdOfCall]);
        } else {
          problem.Update(status);
        }
        for (std::size_t k = 0; k < events_[i].size(); ++k, ++rule) {
          if (is_lost) {
            options_.counts.Find(rules_[rule]).Count(RuleEvent::kMet);
            options_.counts.Find(rules_[rule]).Count(RuleEvent::kGivenUp);
          }
          if (k >= noted.size()) continue;  // an error, or it was settled before
          options_.counts.Find(rules_[rule]).Count(RuleEvent::kMet);
          events_[i][k].entry = noted.at(k).Text();
          if (events_[i][k].entry.empty()) {
            options_.counts.Find(rules_[rule]).Count(RuleEvent::kHeld);
          } else {
            put(rules_[rule], std::move(events_[i][k]));
          }
        }
      }
      RETURN_IF_ERROR(problem);
    }
    std::vector<Arguments> commands;
    for (const auto& [shard, ids] : nothing_) {
      Arguments& command = commands.emplace_back(
          Arguments{"XACK", Keep(streams::ResultsKey(shard)), streams::kRulesGroup});
      command.insert(command.end(), ids.begin(), ids.end());
    }
    return commands.empty() ? absl::OkStatus() : redis.CallAll(commands).status();
  }

  std::size_t entries() const { return entries_; }
  // Why events were lost; empty when none was.
  const std::string& lost() const { return lost_; }

 private:
  static constexpr std::size_t kIdOfCall = 2;  // among the arguments

  // Text that lives as long as this.
  std::string_view Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  const Options& options_;
  const std::string_view token_;
  std::deque<std::string> texts_;
  std::size_t entries_ = 0;
  std::map<int, std::vector<std::string_view>> nothing_;  // met a rule, by shard
  std::vector<Redis::ScriptCall> calls_;
  std::vector<std::vector<Event>> events_;  // of each call
  std::vector<std::string> rules_;          // of all these events
  std::string lost_;
};

Reader::Reader(Options options)
    : options_(std::move(options)),
      token_(RandomText()),
      count_(fmt::format("{}", std::max(1, kEntriesAtOnce / options_.shards))),
      is_wrong_(static_cast<std::size_t>(options_.shards)),
      last_read_(static_cast<std::size_t>(options_.shards), std::string(kNewGroupsBegin)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (int shard = 0; shard < options_.shards; ++shard) {
    results_.push_back(streams::ResultsKey(shard));
  }
  for (const auto& [name, rule] : options_.rules) {
    receivers_.emplace(name, std::make_unique<Receiver>(Receiver::Options{
                                 .rule = name,
                                 .settings = rule,
                                 .counts = options_.counts.Find(name),
                                 .done = [this](const Event& event) { Done(event); }}));
  }
  thread_ = std::thread(&Reader::Run, this);
}

Reader::~Reader() {
  stopping_ = true;
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

void Reader::Done(const Event& event) {
  {
    const MutexLock lock(mutex_);
    done_.emplace_back(event.shard, event.entry);
  }
  eventfd_write(wake_.get(), 1);
}

void Reader::Sleep(milliseconds time) const {
  if (stopping_) return;
  pollfd event{.fd = wake_.get(), .events = POLLIN, .revents = 0};
  poll(&event, 1, static_cast<int>(std::max<milliseconds::rep>(time.count(), 0)));
}

void Reader::Run() {
  Pauses pauses(std::random_device{}());
  bool said_away = false;
  while (!stopping_) {
    const absl::Status status = Work([&] {
      pauses.Reset();
      if (std::exchange(said_away, false)) log::Info("Redis is back");
      options_.say_why_not("");
    });
    if (status.ok() || absl::IsAborted(status)) continue;
    options_.say_why_not(Message(status));
    if (!std::exchange(said_away, true)) {
      log::Warning("Redis is away: the rules do not work", {{"reason", Message(status)}});
    }
    const TimePoint until = Clock::now() + pauses.Next();
    while (!stopping_ && Clock::now() < until) {
      Sleep(std::chrono::ceil<milliseconds>(until - Clock::now()));
      eventfd_t count = 0;
      eventfd_read(wake_.get(), &count);
    }
  }
  End();
}

// Nothing more is told, what was told is forgotten, and the next process may begin.
void Reader::End() {
  for (const auto& [name, receiver] : receivers_) receiver->Stop();
  receivers_.clear();
  if (!is_owner_) return;
  auto redis = Redis::Connect(options_.address);
  if (!redis.ok()) return;
  if (!ForgetDone(*redis).ok()) return;
  static_cast<void>(
      redis->Run({&streams::ReleaseScript(), {streams::kRulesLease}, {token_}}).status());
}

absl::Status Reader::Work(const std::function<void()>& works) {
  ASSIGN_OR_RETURN(Redis redis, Redis::Connect(options_.address));
  streams::RedisAddress patient = options_.address;
  patient.patience = kBlockAndPatience;
  ASSIGN_OR_RETURN(Redis waits, Redis::Connect(patient));
  waits_since_.reset();
  reads_pending_ = true;
  next_lease_ = {};
  while (!stopping_) {
    ASSIGN_OR_RETURN(const bool is_ours, KeepLease(redis));
    RETURN_IF_ERROR(ForgetDone(redis));
    if (!is_ours) {
      // What a read that is out would get is somebody else's to settle.
      if (waits_since_) return absl::AbortedError("the lease is lost");
      works();
      Sleep(std::chrono::ceil<milliseconds>(next_lease_ - Clock::now()));
      continue;
    }
    if (!waits_since_ && (reads_pending_ || Clock::now() >= next_pending_)) {
      next_pending_ = Clock::now() + kPendingEvery;
      // It may have been put right.
      if (std::ranges::find(is_wrong_, true) != is_wrong_.end()) RETURN_IF_ERROR(Own(redis));
      ASSIGN_OR_RETURN(const std::size_t found, ReadPending(redis));
      reads_pending_ = found > 0;
      works();
      continue;
    }
    RETURN_IF_ERROR(ReadNew(redis, waits));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Reader::KeepLease(Redis& redis) {
  const TimePoint now = Clock::now();
  if (now < next_lease_) return is_owner_;
  if (is_owner_) {
    ASSIGN_OR_RETURN(
        const OwnedReply renewed,
        redis.Run({&streams::RenewScript(), {streams::kRulesLease}, {token_, kLeaseMs}}));
    if ((*renewed).Number() == 1) {
      next_lease_ = now + kRenewEvery;
      return true;
    }
    Lose();
    return false;
  }
  ASSIGN_OR_RETURN(
      const OwnedReply acquired,
      redis.Run({&streams::AcquireScript(), {streams::kRulesLease}, {token_, kLeaseMs}}));
  if ((*acquired).Number() == 1) {
    next_lease_ = now + kRenewEvery;
    RETURN_IF_ERROR(Own(redis));
    RETURN_IF_ERROR(LoadEvents(redis));
    is_owner_ = reads_pending_ = true;
    log::Info("rules are ours");
    return true;
  }
  next_lease_ = now + kTryEvery;
  return false;
}

void Reader::Lose() {
  if (!std::exchange(is_owner_, false)) return;
  for (const auto& [name, receiver] : receivers_) receiver->Clear();
  next_lease_ = {};
  log::Warning("rules are somebody else's by now");
}

absl::Status Reader::Own(Redis& redis) {
  std::deque<std::string> keys;
  std::vector<Redis::ScriptCall> calls;
  calls.reserve(results_.size());
  for (int shard = 0; shard < options_.shards; ++shard) {
    calls.push_back(
        {.script = &OwnScript(),
         .keys = {keys.emplace_back(streams::RulesOwnerKey(shard)),
                  results_[static_cast<std::size_t>(shard)]},
         .arguments = {token_, streams::kRulesGroup, last_read_[static_cast<std::size_t>(shard)]}});
  }
  ASSIGN_OR_RETURN(const std::vector<OwnedReply> replies, redis.RunAll(calls));
  absl::Status wrong;
  std::size_t good = 0;
  for (std::size_t shard = 0; shard < replies.size(); ++shard) {
    absl::Status status = (*replies[shard]).ToStatus();
    if (status.ok()) {
      ++good;
      is_wrong_[shard] = false;
      continue;
    }
    if (!absl::IsFailedPrecondition(status)) return status;
    if (!is_wrong_[shard]) {
      log::Warning("rules leave a shard out", {{"shard", shard}, {"reason", Message(status)}});
    }
    is_wrong_[shard] = true;
    wrong.Update(status);
  }
  return good == 0 ? wrong : absl::OkStatus();
}

// Those that an owner before us had noted and that were not taken yet.
absl::Status Reader::LoadEvents(Redis& redis) {
  for (const auto& [name, receiver] : receivers_) receiver->Clear();
  for (int shard = 0; shard < options_.shards; ++shard) {
    const std::string key = streams::EventsKey(shard);
    std::string from = "-";
    while (true) {
      const absl::StatusOr<OwnedReply> got =
          redis.Call({"XRANGE", key, from, "+", "COUNT", kEventsAtOnceText});
      if (absl::IsFailedPrecondition(got.status())) {
        SayLost(Message(got.status()));
        break;
      }
      RETURN_IF_ERROR(got.status());
      const OwnedReply& page = *got;
      for (std::size_t i = 0; i < (*page).size(); ++i) {
        const Reply entry = (*page).at(i);
        const std::vector<Field> fields = FieldsOf(entry.at(1));
        from = fmt::format("({}", entry.at(0).Text());
        Event event{.shard = shard,
                    .entry = std::string(entry.at(0).Text()),
                    .at_ms = ToNumber(FieldOf(fields, "at")),
                    .json = std::string(FieldOf(fields, "event"))};
        event.id = FieldOf(fields, "id");
        const auto receiver = receivers_.find(FieldOf(fields, "rule"));
        if (receiver == receivers_.end()) {
          Done(event);  // the rule is no more
        } else {
          receiver->second->Put(std::move(event));
        }
      }
      if ((*page).size() < kEventsAtOnce) break;
    }
  }
  return absl::OkStatus();
}

Arguments Reader::ReadCommand(std::string_view from, std::string_view block) const {
  Arguments command = {"XREADGROUP",       "GROUP", streams::kRulesGroup,
                       streams::kConsumer, "COUNT", count_};
  if (!block.empty()) command.insert(command.end(), {"BLOCK", block});
  command.emplace_back("STREAMS");
  std::size_t streams = 0;
  for (std::size_t shard = 0; shard < results_.size(); ++shard) {
    if (is_wrong_[shard]) continue;
    command.emplace_back(results_[shard]);
    ++streams;
  }
  command.insert(command.end(), streams, from);
  return command;
}

absl::StatusOr<std::size_t> Reader::ReadPending(Redis& redis) {
  const absl::StatusOr<OwnedReply> reply = redis.Call(ReadCommand("0", /*block=*/""));
  if (IsToOwnAgain(reply.status())) {
    RETURN_IF_ERROR(Own(redis));
    return 0;
  }
  RETURN_IF_ERROR(reply.status());
  return Take(redis, **reply);
}

absl::Status Reader::ReadNew(Redis& redis, Redis& waits) {
  if (!waits_since_) {
    RETURN_IF_ERROR(waits.Send(ReadCommand(">", kBlockMs)));
    waits_since_ = Clock::now();
  }
  std::array<pollfd, 2> events{{{.fd = waits.fd(), .events = POLLIN, .revents = 0},
                                {.fd = wake_.get(), .events = POLLIN, .revents = 0}}};
  const auto left = std::chrono::ceil<milliseconds>(next_lease_ - Clock::now());
  poll(events.data(), events.size(),
       static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
  if (events[0].revents == 0) {
    const bool is_late = Clock::now() - *waits_since_ > kBlockAndPatience;
    return is_late ? absl::UnavailableError("Redis did not answer in time") : absl::OkStatus();
  }
  waits_since_.reset();
  ASSIGN_OR_RETURN(const OwnedReply reply, waits.Receive());
  if (absl::Status status = (*reply).ToStatus(); IsToOwnAgain(status)) {
    Sleep(kGather);
    return Own(redis);
  } else if (!status.ok()) {
    return status;
  }
  RETURN_IF_ERROR(Take(redis, *reply).status());
  Sleep(kGather);
  return absl::OkStatus();
}

absl::StatusOr<std::size_t> Reader::Take(Redis& redis, const Reply& reply) {
  Notes notes(options_, token_);
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const auto key = std::ranges::find(results_, reply.at(i).at(0).Text());
    if (key == results_.end()) continue;
    const auto shard = key - results_.begin();
    const Reply entries = reply.at(i).at(1);
    for (std::size_t n = 0; n < entries.size(); ++n) {
      notes.Add(static_cast<int>(shard), entries.at(n));
    }
    if (entries.size() > 0) {
      last_read_[static_cast<std::size_t>(shard)] = entries.at(entries.size() - 1).at(0).Text();
    }
  }
  const absl::Status status = notes.Settle(redis, [this](const std::string& rule, Event event) {
    receivers_.at(rule)->Put(std::move(event));
  });
  if (absl::IsAborted(status)) Lose();
  if (!notes.lost().empty()) SayLost(notes.lost());
  RETURN_IF_ERROR(status);
  return notes.entries();
}

void Reader::SayLost(std::string_view why) {
  const TimePoint now = Clock::now();
  if (now < next_say_lost_) return;
  next_say_lost_ = now + kSayLostEvery;
  log::Warning("rules cannot keep events of a shard", {{"reason", why}});
}

absl::Status Reader::ForgetDone(Redis& redis) {
  eventfd_t count = 0;
  eventfd_read(wake_.get(), &count);
  std::map<int, std::vector<std::string>> done;
  {
    const MutexLock lock(mutex_);
    for (auto& [shard, entry] : done_) done[shard].push_back(std::move(entry));
    done_.clear();
  }
  if (done.empty()) return absl::OkStatus();
  std::deque<std::string> keys;
  std::vector<Arguments> commands;
  for (const auto& [shard, entries] : done) {
    Arguments& command =
        commands.emplace_back(Arguments{"XDEL", keys.emplace_back(streams::EventsKey(shard))});
    command.insert(command.end(), entries.begin(), entries.end());
  }
  absl::Status status = redis.CallAll(commands).status();
  if (status.ok()) return status;
  // They are tried again: nobody shall be told of them once more.
  const MutexLock lock(mutex_);
  for (auto& [shard, entries] : done) {
    for (std::string& entry : entries) done_.emplace_back(shard, std::move(entry));
  }
  return status;
}

}  // namespace inferpool::rules
