#include "worker/streams/in_work.h"

#include <utility>

#include "worker/streams/counts.h"
#include "worker/streams/entry.h"

namespace inferpool::streams {

InWork::InWork(FrameQueue& queue, Leases& leases, Schedule& schedule, Looks& looks,
               const Scoreboard& board)
    : queue_(queue), leases_(leases), schedule_(schedule), looks_(looks), board_(board) {}

void InWork::SetWidth(Width width) {
  threads_ = width.threads;
  queue_.SetWidth(width);
}

void InWork::Begin(Camera& camera, Frame frame) {
  Hold(camera, frame, frame.read_at);
  StreamShard& counts = CountsOf(board_, camera.shard);
  counts.Count(StreamEvent::kRead);
  if (frame.claimed) counts.Count(StreamEvent::kClaimed);
  frame.snapshot = looks_.IsDue(frame.camera, Clock::now());
  frame.gate = camera.gate;
  begun_.push_back(std::move(frame));
}

void InWork::HandOver() {
  if (!begun_.empty()) queue_.Put(std::exchange(begun_, {}));
}

void InWork::Hold(Camera& camera, const Frame& frame, TimePoint now) {
  schedule_.Took(camera, frame.bytes, TimeOfId(frame.id), now);
  ++frames_;
  bytes_ += frame.bytes;
  leases_.Began(camera.shard);
}

void InWork::End(const Frame& frame) {
  --frames_;
  bytes_ -= frame.bytes;
  leases_.Ended(frame.shard);
  if (Camera* camera = schedule_.Find(frame.camera)) schedule_.Done(*camera);
}

void InWork::Worked(std::int64_t us) {
  frame_us_ += (static_cast<double>(us) - frame_us_) / 64;
}

}  // namespace inferpool::streams
