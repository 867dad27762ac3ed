// Which camera's frame is taken next. Pure: it is told what happened and what time it is.
//
//   One at a time  a camera has at most one frame in work, so its answers come in its order.
//   Rounds         the cameras that have a frame are found out together, then each gives one, the
//                  one first that has waited longest; then they are found out again. So a camera
//                  with many frames takes nothing from one with few.
//   Priority       a camera of high priority is looked at again before each choice and goes first;
//                  one of low priority goes last. Of four choices one is that of the camera that
//                  has waited longest, whatever its priority: none starves.
//   Rate           a camera with a rate rests after each frame for as long as the rate says.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/priority.h"
#include "worker/streams/motion.h"

namespace inferpool::streams {

enum class Policy { kLatest, kFifo, kAll };

struct CameraOptions {
  std::string model = {};
  std::string parameters = {};  // as in a URL's query
  Policy policy = Policy::kLatest;
  int max_age_ms = 0;  // 0: a frame of any age is answered
  double rate = 0;     // frames per second that are answered at most; 0: any
  Priority priority = Priority::kNormal;
  bool findings_only = false;                 // answers without findings are not stored
  std::optional<MotionSettings> motion = {};  // nullopt: the model looks at each frame
  bool operator==(const CameraOptions&) const = default;
};

// A camera that this process looks after, or has looked after while a frame of it is in work.
struct Camera {
  std::string id;
  int shard = 0;
  std::string key = {};  // of its stream
  CameraOptions options = {};

  enum class State { kIdle, kReady, kInWork };
  State state = State::kIdle;
  bool has_frame = false;       // in work
  bool gone = false;            // nothing more is taken of it
  bool needs_group = true;      // its consumer group may be missing: Redis is not asked to wait
  std::size_t frame_bytes = 0;  // of a frame of it, by those seen
  std::int64_t waiting = 0;     // frames in its stream when that was looked at
  // Unix time since which the oldest frame in its stream has waited: that of the frame in work, or
  // when one was first seen there; 0: there was none.
  std::int64_t waits_since_ms = 0;
  std::uint64_t served = 0;      // the turn of its latest frame
  std::uint64_t awaited_by = 0;  // the latest blocking read that waited for it
  TimePoint rests_until{};
  // What was seen of it so far; its frame has it while one is in work. Null when its options say
  // nothing of motion.
  std::shared_ptr<MotionGate> gate = nullptr;
};

// The bytes that a frame of the camera probably has.
std::size_t ExpectedBytes(const Camera& camera);

class Schedule {
 public:
  // Puts the camera in, or changes its options. A gate for motion begins anew when they differ.
  void Set(const std::string& id, int shard, CameraOptions options);
  // Takes out all for which `keep` is false. One that has a frame in work goes when it is done.
  void Keep(const std::function<bool(const Camera&)>& keep);

  Camera* Find(std::string_view id);
  std::vector<Camera*> All();

  // The cameras that wait to be looked at: whether they have frames. `all`: or only those of high
  // priority. Not those that rest.
  std::vector<Camera*> ToLookAt(bool all, TimePoint now);
  // What was found. One that has no frame stays idle.
  void Found(Camera& camera, std::int64_t waiting);
  // So many frames are in the camera's stream, with that in work. Changes only since when they
  // wait.
  void Saw(Camera& camera, std::int64_t frames, std::int64_t now_ms);

  bool has_ready() const;

  // The next cameras with a frame, at most so many, and so few that their frames probably have at
  // most `bytes` together. They count as in work from now on. The first may have `first` bytes;
  // when it probably has more, none is given, and needed() says how many, so that it is not passed
  // by.
  std::vector<Camera*> Next(std::size_t count, std::size_t bytes, std::size_t first);
  std::size_t needed() const { return needed_; }  // 0: nothing was too large

  // The camera has a frame, of so many bytes, for which there was no room.
  void TooLarge(Camera& camera, std::size_t bytes);
  // The camera had no frame after all.
  void NotThere(Camera& camera);
  // Nothing was heard of those that Next gave and that neither Took nor NotThere has named.
  void PutBack();
  // It had one of so many bytes, which came at `came_ms` of Unix time and is in work now.
  void Took(Camera& camera, std::size_t bytes, std::int64_t came_ms, TimePoint now);
  // The frame is done. A camera that was taken out and has no frame in work is no more: `camera` is
  // not valid afterwards.
  void Done(Camera& camera);
  // Nothing of it is looked at for a while.
  void Rest(Camera& camera, TimePoint until);

  // When the first camera has rested; nullopt: none rests.
  std::optional<TimePoint> NextDue(TimePoint now) const;

  const std::map<std::string, Camera, std::less<>>& cameras() const { return cameras_; }

 private:
  // Those of one priority that have a frame, the one that has waited longest first.
  struct ServedBefore {
    bool operator()(const Camera* a, const Camera* b) const {
      return a->served != b->served ? a->served < b->served : a->id < b->id;
    }
  };
  using Ready = std::set<Camera*, ServedBefore>;

  Ready& ReadyOf(const Camera& camera) {
    return ready_[static_cast<std::size_t>(camera.options.priority)];
  }
  // The camera whose turn it is; there is one.
  Camera& Choose();
  void Drop(Camera& camera);

  std::map<std::string, Camera, std::less<>> cameras_;
  std::array<Ready, kPriorityNames.size()> ready_;
  std::uint64_t turn_ = 0;
  std::size_t needed_ = 0;
};

// How many frames may be taken or in work at once in a process of so many threads, when one takes
// `frame_us`: enough that the threads are busy for some 20 ms and a trip to Redis carries many, and
// no more, as frames that wait grow old.
std::size_t Depth(std::size_t threads, double frame_us);

}  // namespace inferpool::streams
