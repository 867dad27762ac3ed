// A frame on its way from its camera's stream to an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "shared/base/deadline.h"
#include "worker/streams/motion.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

struct Frame {
  std::string camera = {};
  int shard = 0;
  std::string id = {};  // of the entry
  std::string seq = {};
  std::string picture = {};     // a file's bytes
  std::string handle = {};      // without a picture: where it lies in shared memory
  std::string model = {};       // empty: none was named
  std::string parameters = {};  // as in a URL's query
  std::size_t bytes = 0;        // of the entry's names and values
  Policy policy = Policy::kLatest;
  int max_age_ms = 0;
  std::int64_t captured_ms = 0;  // Unix time, as the producer says or else of the entry's id
  std::int64_t read_ms = 0;
  bool claimed = false;  // a process before us had it
  TimePoint read_at{};
  int tries = 0;
  bool findings_only = false;  // an answer without findings is not stored
  bool snapshot = false;       // somebody looks at the camera, and shall see this one
  // The camera's, for as long as this frame is in work, as it has no other then. Null: the model
  // looks at each frame.
  std::shared_ptr<MotionGate> gate = nullptr;
};

// What is to become of a frame that was worked on.
struct Outcome {
  enum class What {
    kAnswer,       // publish `json`
    kRetry,        // the model server was away or had no room
    kStale,        // it has become too old
    kOverwritten,  // what its handle names is gone
    kDead,         // give it up and keep it among the dead letters: `json` says why
  };

  Frame frame = {};  // without its picture unless it is tried again
  What what = What::kAnswer;
  int status = 200;
  std::string json = {};
  bool still = false;            // nothing moved, and the model was not asked
  bool has_findings = false;     // something was found in the picture
  bool batches = false;          // a model answered that batches elsewhere (mode.h)
  std::string snapshot = {};     // a JPEG, where the frame asked for one
  std::int64_t answered_ms = 0;  // Unix time
  std::int64_t worked_us = 0;
};

std::int64_t NowMs();  // Unix time

// Whether the answer is to be an entry among the results. A problem always is.
inline bool IsStored(const Outcome& answer) {
  return !answer.frame.findings_only || answer.has_findings || answer.status != 200;
}

}  // namespace inferpool::streams
