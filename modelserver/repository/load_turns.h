// Whose turn it is to load: one at a time for each model, and not too many models together, as each
// takes a core and memory.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

#include "shared/base/status.h"

namespace inferpool::modelserver {

// Thread safe.
class LoadTurns {
 public:
  enum class Kind {
    kLoad,    // one of at most `most_loads`
    kUnload,  // waits for its model's turn alone
  };

  // A turn, for as long as this lives; the turns must outlive it. A thread holds one at most.
  class Turn {
   public:
    Turn(LoadTurns& turns, std::string model, Kind kind)
        : turns_(&turns), model_(std::move(model)), kind_(kind) {}
    ~Turn();
    Turn(Turn&& other) noexcept;
    Turn& operator=(Turn&&) = delete;

   private:
    LoadTurns* turns_;  // null once moved from
    std::string model_;
    Kind kind_;
  };

  LoadTurns(int most_loads, int most_waiting)
      : most_loads_(most_loads), most_waiting_(most_waiting) {}

  // Waits for the turn of `model`. Error: UNAVAILABLE when `most_waiting` wait already.
  absl::StatusOr<Turn> Take(const std::string& model, Kind kind);

 private:
  void Return(const std::string& model, Kind kind);

  const int most_loads_;
  const int most_waiting_;

  std::mutex mutex_;
  std::condition_variable returned_;
  // Guarded by mutex_.
  std::set<std::string> models_;
  int loads_ = 0;
  int waiting_ = 0;
};

}  // namespace inferpool::modelserver
