// A camera's answers as server-sent events (the HTML standard, section 9.2), for one client.
//
// The id of an event is that of its entry in the stream of results, so a client that comes again
// with Last-Event-ID gets what it has missed from Redis, as far as Redis still has it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/live/answer.h"
#include "ops/live/listeners.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/board/stream_counts.h"

namespace inferpool::live {

std::string Event(const Answer& answer);

// `text` has one line.
std::string Comment(std::string_view text);

// A camera's answers after an id, as far as one look found them.
struct HistoryPage {
  std::vector<Answer> answers = {};  // oldest first
  EntryId last = {};                 // of what was looked at, whosever it is
  bool is_last = true;               // there was no more
  bool is_incomplete = false;        // answers between the id and these were there and are gone
};

class EventStream {
 public:
  struct Options {
    bool findings_only = false;
    std::optional<EntryId> after = {};  // the client has had everything up to this one
    // Reads what comes after an id. An error: it cannot be read now.
    std::function<absl::StatusOr<HistoryPage>(EntryId)> read_history = {};
    // Whether the client may still listen: asked at each heartbeat.
    std::function<bool()> may_stay = [] { return true; };
    LiveCounts* counts = nullptr;  // of events that are sent; null: they are not counted
    std::chrono::milliseconds heartbeat{15'000};
  };

  EventStream(std::unique_ptr<Listener> listener, Options options);

  // The next piece of the stream. Waits until there is one, and for a heartbeat at most. nullopt:
  // the stream ends here, for the client has left (`client`, a socket, is closed at its end), was
  // too slow, or may not listen any more; or because all streams end.
  std::optional<std::string> Next(int client);

 private:
  enum class Wait { kMore, kTime, kLeft };
  Wait WaitFor(int client, std::chrono::milliseconds time) const;
  std::optional<std::string> Replay(int client);
  std::string TextOf(const Listener::Taken& taken);
  void CountEvent() const;

  const std::unique_ptr<Listener> listener_;
  const Options options_;
  std::optional<EntryId> after_;  // while the history is read
  EntryId sent_;                  // up to here
  TimePoint beat_;                // the latest
  bool has_begun_ = false;
  bool ends_ = false;
};

}  // namespace inferpool::live
