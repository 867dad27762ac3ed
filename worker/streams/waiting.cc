#include "worker/streams/waiting.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "shared/redis/names.h"
#include "worker/streams/trip.h"

namespace inferpool::streams {

namespace {

using std::chrono::milliseconds;

// After a read that was given frames: others come at about the same time.
constexpr milliseconds kRest{5};
// A read for a thousand streams costs Redis a millisecond or two, whether or not it is given any.
constexpr milliseconds kShortestWait{20};

}  // namespace

Waiting::Waiting(const FieldNames& fields, const Leases& leases, Schedule& schedule,
                 const InWork& in_work)
    : fields_(fields), leases_(leases), schedule_(schedule), in_work_(in_work) {}

std::vector<Camera*> Waiting::Idle(TimePoint now) const {
  std::vector<Camera*> idle;
  std::size_t bytes = 0;
  for (Camera* camera : schedule_.ToLookAt(/*all=*/true, now)) {
    if (camera->needs_group || !leases_.MayTake(camera->shard, now)) continue;
    if (bytes + camera->frame_bytes > kMostBytes) continue;  // looked at once in a while (taking.h)
    bytes += camera->frame_bytes;
    idle.push_back(camera);
  }
  return idle;
}

std::optional<TimePoint> Waiting::NextDue(TimePoint now) const {
  if (is_out_) return waits_for_too_few_ ? std::optional(sent_at_ + kShortestWait) : std::nullopt;
  return now < rests_until_ ? std::optional(rests_until_) : std::nullopt;
}

absl::StatusOr<Received> Waiting::Wait(Links& links, TimePoint now) {
  if (Rests(now)) return Received();
  const std::vector<Camera*> idle = Idle(now);
  if (is_out_) {
    waits_for_too_few_ =
        !std::ranges::all_of(idle, [this](const Camera* camera) { return WaitsFor(*camera); });
    if (!waits_for_too_few_ || now < sent_at_ + kShortestWait) return Received();
    ASSIGN_OR_RETURN(Received received, Stop(links));
    if (!received.empty()) return received;
  }
  if (idle.empty()) return Received();
  const std::string block = fmt::format("{}", kBlock.count());
  Arguments command = {"XREADGROUP", "GROUP", kGroup, kConsumer, "COUNT",
                       "1",          "BLOCK", block,  "STREAMS"};
  command.reserve(command.size() + 2 * idle.size());
  for (const Camera* camera : idle) command.push_back(camera->key);
  command.insert(command.end(), idle.size(), ">");
  RETURN_IF_ERROR(links.waits.Send(command));
  is_out_ = true;
  waits_for_too_few_ = false;
  sent_at_ = now;
  ++read_;
  for (Camera* camera : idle) camera->awaited_by = read_;
  return Received();
}

absl::StatusOr<Received> Waiting::Stop(Links& links) {
  if (!is_out_) return Received();
  // Redis may not have seen the blocking read yet: then it is not blocked, and will be.
  pollfd answer{.fd = links.waits.fd(), .events = POLLIN, .revents = 0};
  while (true) {
    ASSIGN_OR_RETURN(const OwnedReply unblocked,
                     links.work.Call({"CLIENT", "UNBLOCK", links.waits_id}));
    if ((*unblocked).Number() == 1 || poll(&answer, 1, /*timeout=*/1) == 1) return Receive(links);
  }
}

absl::StatusOr<Received> Waiting::Receive(Links& links) {
  is_out_ = false;
  ASSIGN_OR_RETURN(const OwnedReply owned, links.waits.Receive());
  const Reply reply = *owned;
  if (const absl::Status status = reply.ToStatus(); !status.ok()) {
    if (BreaksConnection(status)) return status;
    // A group was lost, or a key became something else: taking makes groups and finds out.
    for (Camera* camera : schedule_.ToLookAt(/*all=*/true, TimePoint::max())) {
      if (camera->awaited_by == read_) camera->needs_group = true;
    }
    return Received();
  }
  Received received;
  std::size_t left = in_work_.bytes_left();
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const std::string_view key = reply.at(i).at(0).Text();
    const Reply entries = reply.at(i).at(1);
    constexpr std::string_view kBeforeId = "}:cam:";
    const std::size_t at = key.find(kBeforeId);
    if (at == std::string_view::npos || entries.size() == 0) continue;
    Camera* camera = schedule_.Find(key.substr(at + kBeforeId.size()));
    // One that is in work, or is no longer ours, has its frame claimed later.
    if (camera == nullptr || camera->state == Camera::State::kInWork) continue;
    const std::size_t bytes = BytesOf(entries.at(0).at(1));
    if (bytes > left) {
      camera->frame_bytes = bytes;
      received[camera->id] = Frame();
      continue;
    }
    left -= bytes;
    received[camera->id] = FrameOf(fields_, *camera, entries.at(0).at(0), entries.at(0).at(1),
                                   /*claimed=*/false);
  }
  if (!received.empty()) rests_until_ = Clock::now() + kRest;
  return received;
}

}  // namespace inferpool::streams
