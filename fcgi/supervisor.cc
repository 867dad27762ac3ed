#include "fcgi/supervisor.h"

#include <algorithm>

namespace inferpool::fcgi {

Supervisor::Supervisor(std::vector<bool> first_to_leave, const Options& options)
    : options_(options) {
  for (const bool first : first_to_leave) {
    Child child{.first_to_leave = first};
    child.start_at = TimePoint::min();
    children_.push_back(child);
  }
}

Supervisor::Actions Supervisor::Due(TimePoint now) {
  Actions actions;
  for (std::size_t i = 0; i < children_.size(); ++i) {
    Child& child = children_[i];
    if (!child.running) {
      if (!child.start_at || *child.start_at > now) continue;
      child.running = true;
      child.started = now;
      child.start_at.reset();
      actions.push_back({Act::kStart, i});
      continue;
    }
    if (stopping_ && !child.terminated && (child.first_to_leave || FirstHaveLeft())) {
      child.terminated = true;
      child.kill_at = now + (child.first_to_leave ? options_.drain : options_.last_drain);
      actions.push_back({Act::kTerminate, i});
    }
    if (child.kill_at && *child.kill_at <= now && !child.killed) {
      child.killed = true;
      actions.push_back({Act::kKill, i});
    }
  }
  return actions;
}

void Supervisor::Ended(std::size_t index, bool planned, TimePoint now) {
  Child& child = children_[index];
  const bool was_good = now - child.started >= options_.good;
  child.running = child.terminated = child.killed = false;
  child.kill_at.reset();
  if (stopping_) return;
  if (planned) {
    child.backoff = {};
  } else if (was_good || child.backoff.count() == 0) {
    child.backoff = options_.backoff;
  } else {
    child.backoff = std::min(child.backoff * 2, options_.most_backoff);
  }
  child.start_at = now + child.backoff;
}

void Supervisor::Stop(TimePoint) {
  stopping_ = true;
  for (Child& child : children_) child.start_at.reset();
}

void Supervisor::StopNow(TimePoint now) {
  Stop(now);
  for (Child& child : children_) {
    if (!child.running) continue;
    child.terminated = true;
    child.kill_at = now;
  }
}

std::optional<TimePoint> Supervisor::NextDue() const {
  std::optional<TimePoint> next;
  const auto consider = [&next](const std::optional<TimePoint>& at) {
    if (at && (!next || *at < *next)) next = at;
  };
  for (const Child& child : children_) {
    consider(child.start_at);
    if (!child.killed) consider(child.kill_at);
  }
  return next;
}

bool Supervisor::Done() const {
  return stopping_ && std::ranges::none_of(children_, &Child::running);
}

bool Supervisor::FirstHaveLeft() const {
  return std::ranges::none_of(
      children_, [](const Child& child) { return child.first_to_leave && child.running; });
}

}  // namespace inferpool::fcgi
