// Notices callers that have gone away while their requests wait. gRPC tells that only to those who
// ask, and a question costs some microseconds, on some machines twenty: so one thread asks for all,
// in rounds that take a fourteenth of a core at most. Where that is not enough for all, the next
// round goes on with the next; but when one has gone, the rest are asked at once, as often many go
// together.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>

namespace inferpool::modelserver {

class CallerWatch {
 public:
  // From the end of one round to the next, and the processor time of a round in which nobody has
  // gone.
  static constexpr std::chrono::milliseconds kPause{65};
  static constexpr std::chrono::milliseconds kRound{5};

  CallerWatch();

  // A caller who is asked, as long as this lives; the watch must outlive it.
  class Entry {
   public:
    // `cancelled` is asked until it says so; then `left` is called, once. Both on the watch's
    // thread, so neither may wait long.
    Entry(CallerWatch& watch, std::function<bool()> cancelled, std::function<void()> left);
    // Afterwards neither is called any more. Waits while one is.
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    friend class CallerWatch;

    CallerWatch& watch_;
    const std::function<bool()> cancelled_;
    const std::function<void()> left_;
    std::uint64_t number_ = 0;  // of arrival
    bool gone_ = false;         // guarded by the watch's mutex
  };

 private:
  void Run(const std::stop_token& stop);
  void AskRound(std::unique_lock<std::mutex>& lock);
  // Whether the caller has gone.
  bool Ask(Entry& entry, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable_any came_;
  std::condition_variable asked_;
  // Guarded by mutex_.
  std::map<std::uint64_t, Entry*> entries_;
  std::uint64_t arrivals_ = 0;
  std::uint64_t next_ = 0;  // whose turn it is, or that of the first one behind
  const Entry* asking_ = nullptr;

  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace inferpool::modelserver
