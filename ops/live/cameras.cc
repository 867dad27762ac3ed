#include "ops/live/cameras.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <span>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/redis/names.h"

namespace inferpool::live {
namespace {

constexpr std::size_t kMaxCameras = 10'000;
constexpr std::chrono::seconds kListingLasts{1};
// Of the time at most one part in so many goes into asking.
constexpr int kShareOfTime = 20;

std::string NumberOrNull(const std::optional<std::int64_t>& number) {
  return number ? fmt::format("{}", *number) : "null";
}

}  // namespace

std::string ToJson(const Camera& camera, std::int64_t now_ms) {
  const Answer* newest = camera.known.newest.get();
  const auto since = [](std::int64_t from_ms, std::int64_t to_ms) {
    return from_ms > 0 && to_ms > 0 ? std::optional(std::max<std::int64_t>(0, to_ms - from_ms))
                                    : std::nullopt;
  };
  std::optional<std::int64_t> age, lag, status;
  if (newest != nullptr) {
    age = since(newest->answered_ms, now_ms);
    lag = since(newest->captured_ms, newest->answered_ms);
    status = newest->status;
  }
  std::string ledger = "null";
  if (camera.counts.ledger) {
    ledger.clear();
    for (std::size_t i = 0; i < kLedgerFields.size(); ++i) {
      ledger += fmt::format(R"({}"{}":{})", i == 0 ? "{" : ",", kLedgerFields[i],
                            (*camera.counts.ledger)[i]);
    }
    ledger += "}";
  }
  return fmt::format(
      R"({{"id":{},"rate":{:.2f},"age_ms":{},"lag":{{"ms":{},"frames":{}}},"status":{},"ledger":{}}})",
      QuotedJson(camera.id), camera.known.rate, NumberOrNull(age), NumberOrNull(lag),
      NumberOrNull(camera.counts.waiting), NumberOrNull(status), ledger);
}

Cameras::Cameras(Questions& questions, std::vector<std::string> configured)
    : questions_(questions), configured_(std::move(configured)) {
  const MutexLock lock(listing_mutex_);
  listing_.ids = configured_;
  listing_.counts.resize(configured_.size());
  listing_.due = TimePoint::min();
}

void Cameras::Put(std::shared_ptr<const Answer> answer, bool is_old, TimePoint now) {
  const MutexLock lock(mutex_);
  if (is_old) {
    newest_.AddOld(std::move(answer), now);
  } else {
    newest_.Add(std::move(answer), now);
  }
}

void Cameras::Tidy(TimePoint now) {
  const MutexLock lock(mutex_);
  newest_.Tidy(now);
}

std::shared_ptr<const Answer> Cameras::Newest(std::string_view id, TimePoint now) const {
  const MutexLock lock(mutex_);
  return newest_.Find(id, now).newest;
}

void Cameras::Refresh(TimePoint now) {
  if (now < listing_.due) return;
  const TimePoint begin = Clock::now();
  std::set<std::string> ids(configured_.begin(), configured_.end());
  {
    const MutexLock lock(mutex_);
    for (const NewestAnswers::Known& known : newest_.All(now)) ids.insert(known.newest->camera);
  }
  if (ids.size() < kMaxCameras) {
    auto members = questions_.Members(kMaxCameras);
    if (members.ok()) ids.insert(members->begin(), members->end());
  }
  std::vector<std::string> all(ids.begin(), ids.end());
  if (all.size() > kMaxCameras) all.resize(kMaxCameras);
  auto counts = questions_.CountsOf(all);
  if (counts.ok()) {
    listing_.ids = std::move(all);
    listing_.counts = *std::move(counts);
  }
  listing_.due =
      now + std::max<Clock::duration>(kListingLasts, kShareOfTime * (Clock::now() - begin));
}

std::vector<Camera> Cameras::All(TimePoint now) {
  std::vector<Camera> all;
  const MutexLock lock(listing_mutex_);
  Refresh(now);
  all.reserve(listing_.ids.size());
  const MutexLock newest_lock(mutex_);
  for (std::size_t i = 0; i < listing_.ids.size(); ++i) {
    all.push_back({.id = listing_.ids[i],
                   .known = newest_.Find(listing_.ids[i], now),
                   .counts = listing_.counts[i]});
  }
  return all;
}

absl::Status Cameras::CheckKnown(const std::string& id, TimePoint now) {
  if (std::ranges::binary_search(configured_, id) || Newest(id, now) != nullptr) {
    return absl::OkStatus();
  }
  if (!streams::IsCameraId(id)) return absl::NotFoundError("");
  const auto is_member = questions_.IsMember(id);
  if (!is_member.ok()) return absl::UnavailableError("");
  return *is_member ? absl::OkStatus() : absl::NotFoundError("");
}

absl::StatusOr<Camera> Cameras::Find(const std::string& id, TimePoint now) {
  RETURN_IF_ERROR(CheckKnown(id, now));
  Camera camera{.id = id, .known = {}, .counts = {}};
  {
    const MutexLock lock(mutex_);
    camera.known = newest_.Find(id, now);
  }
  const auto counts = questions_.CountsOf(std::span(&id, 1));
  if (counts.ok()) camera.counts = counts->front();
  return camera;
}

}  // namespace inferpool::live
