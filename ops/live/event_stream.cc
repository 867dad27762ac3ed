#include "ops/live/event_stream.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>

namespace inferpool::live {
namespace {

constexpr std::chrono::seconds kTryAgain{1};

}  // namespace

std::string Event(const Answer& answer) {
  return fmt::format("id: {}\ndata: {}\n\n", answer.id.ToText(), answer.json);
}

std::string Comment(std::string_view text) {
  return fmt::format(": {}\n\n", text);
}

EventStream::EventStream(std::unique_ptr<Listener> listener, Options options)
    : listener_(std::move(listener)),
      options_(std::move(options)),
      after_(options_.after),
      sent_(options_.after.value_or(EntryId())),
      beat_(Clock::now()) {}

EventStream::Wait EventStream::WaitFor(int client, std::chrono::milliseconds time) const {
  std::array<pollfd, 2> events{{{.fd = listener_->fd(), .events = POLLIN, .revents = 0},
                                {.fd = client, .events = POLLRDHUP, .revents = 0}}};
  const int ready = poll(events.data(), events.size(), static_cast<int>(time.count()));
  if (events[1].revents != 0) return Wait::kLeft;
  return ready > 0 ? Wait::kMore : Wait::kTime;
}

void EventStream::CountEvent() const {
  if (options_.counts != nullptr) options_.counts->events.fetch_add(1, std::memory_order_relaxed);
}

std::string EventStream::TextOf(const Listener::Taken& taken) {
  std::string text;
  for (const auto& answer : taken.answers) {
    if (answer->id <= sent_) continue;  // the history had it
    text += Event(*answer);
    sent_ = answer->id;
    CountEvent();
  }
  return text;
}

std::optional<std::string> EventStream::Replay(int client) {
  // What comes from here on is in the queue, in what is read now, or in both.
  listener_->Restart();
  const absl::StatusOr<HistoryPage> page = options_.read_history(*after_);
  if (!page.ok()) {
    const Wait wait = WaitFor(client, kTryAgain);
    if (wait == Wait::kLeft || listener_->Take().is_over) return std::nullopt;
    return Comment("what came before cannot be read now");
  }
  std::string text;
  if (page->is_incomplete) text += Comment("older answers are not kept any more");
  for (const Answer& answer : page->answers) {
    if (options_.findings_only && !answer.has_findings) continue;
    text += Event(answer);
    CountEvent();
  }
  sent_ = std::max(sent_, page->last);
  if (page->is_last) {
    after_.reset();
  } else {
    after_ = page->last;
  }
  return text;
}

std::optional<std::string> EventStream::Next(int client) {
  if (!has_begun_) {
    has_begun_ = true;
    // Browsers come again after so many milliseconds.
    return "retry: 1000\n\n";
  }
  while (true) {
    if (ends_) return std::nullopt;
    if (after_) {
      auto text = Replay(client);
      if (!text || !text->empty()) return text;
      continue;
    }
    const TimePoint due = beat_ + options_.heartbeat;
    const auto left = Deadline(due).Left(Clock::now());
    const Wait wait = WaitFor(client, std::chrono::ceil<std::chrono::milliseconds>(left));
    if (wait == Wait::kLeft) return std::nullopt;
    if (Clock::now() >= due) {
      beat_ = Clock::now();
      if (!options_.may_stay()) {
        ends_ = true;
        return Comment("this API key is not valid any more");
      }
      if (wait == Wait::kTime) return Comment("still here");
    }
    const Listener::Taken taken = listener_->Take();
    std::string text = TextOf(taken);
    if (taken.is_over) {
      ends_ = true;
      text += Comment("come again: this process is replaced");
    } else if (taken.is_too_slow) {
      ends_ = true;
      if (options_.counts != nullptr) {
        options_.counts->too_slow.fetch_add(1, std::memory_order_relaxed);
      }
      text += Comment("too slow: come again, from the last event on");
    }
    if (!text.empty()) return text;
  }
}

}  // namespace inferpool::live
