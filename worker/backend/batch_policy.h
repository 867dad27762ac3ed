// Who joins which batch, and when a batch is sent: the decisions of the batcher, with the time
// passed in. Pure; not thread safe.
//
// A request that comes while nothing is out goes alone and at once. While something is out, the
// first one opens a batch and leads it; later ones follow, until the batch is full, or its leader
// is ready and the batch may be sent: a batch that was out came back, or it waited long enough.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "shared/base/deadline.h"

namespace inferpool::backend {

struct BatchLimits {
  int max_rows = 1;
  Clock::duration wait{};  // from its opening on, a batch waits at most this long
};

class BatchPolicy {
 public:
  explicit BatchPolicy(BatchLimits limits) : limits_(limits) {}

  enum class Part {
    kAlone,   // a batch of its own, which counts as out from now on
    kLead,    // of the batch that is now open
    kFollow,  // in the open batch
  };

  // `shape`: of its row; rows of one batch are all alike. A request does not follow a leader whose
  // time is over before half of its own time is: the leader's deadline is the batch's.
  Part Arrive(std::span<const std::int64_t> shape, Deadline deadline, TimePoint now);

  // The open batch has room for no more than `rows`. To be called right after Arrive returned
  // kLead.
  void Limit(int rows);

  // Whether a batch may be joined. A full one is closed by that, and counts as out.
  bool HasOpen() const { return open_.has_value(); }

  // When the open batch may be sent, should nothing come back until then: the past when it may now.
  TimePoint SendAt() const;

  // Closes the open batch; it counts as out.
  void Close();

  // A batch has come back, or will not be sent.
  void Back();

 private:
  struct Open {
    std::vector<std::int64_t> shape;
    Deadline leader;
    TimePoint send_at;
    int rows = 1;
    int max_rows;
  };

  const BatchLimits limits_;
  int out_ = 0;
  std::optional<Open> open_;
};

}  // namespace inferpool::backend
