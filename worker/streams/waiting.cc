#include "worker/streams/waiting.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "shared/redis/names.h"
#include "worker/streams/entry.h"
#include "worker/streams/in_work.h"
#include "worker/streams/trip.h"

namespace inferpool::streams {

Waiting::Waiting(const Config::Streams& settings, const Leases& leases, Schedule& schedule)
    : settings_(settings), leases_(leases), schedule_(schedule) {}

Waiting::Ids Waiting::Idle(TimePoint now) const {
  Ids idle;
  std::size_t bytes = 0;
  for (const Camera* camera : schedule_.ToLookAt(/*all=*/true, now)) {
    if (camera->needs_group || !leases_.MayTake(camera->shard, now)) continue;
    bytes += camera->frame_bytes;
    if (bytes > kMostBytes) break;
    idle.insert(camera->id);
  }
  return idle;
}

absl::StatusOr<Received> Waiting::Wait(Links& links, TimePoint now) {
  Ids idle = Idle(now);
  if (cameras_) {
    if (std::ranges::includes(*cameras_, idle)) return Received();
    ASSIGN_OR_RETURN(Received received, Stop(links));
    if (!received.empty()) return received;
    idle = Idle(now);
  }
  if (idle.empty()) return Received();
  const std::string block = fmt::format("{}", kBlock.count());
  Arguments command = {"XREADGROUP", "GROUP", kGroup, kConsumer, "COUNT",
                       "1",          "BLOCK", block,  "STREAMS"};
  for (const std::string& id : idle) command.push_back(schedule_.Find(id)->key);
  for (std::size_t i = 0; i < idle.size(); ++i) command.emplace_back(">");
  RETURN_IF_ERROR(links.waits.Send(command));
  cameras_ = std::move(idle);
  return Received();
}

absl::StatusOr<Received> Waiting::Stop(Links& links) {
  if (!cameras_) return Received();
  // Redis may not have seen the blocking read yet: then it is not blocked, and will be.
  pollfd answer{.fd = links.waits.fd(), .events = POLLIN, .revents = 0};
  while (true) {
    ASSIGN_OR_RETURN(const OwnedReply unblocked,
                     links.work.Call({"CLIENT", "UNBLOCK", links.waits_id}));
    if ((*unblocked).Number() == 1 || poll(&answer, 1, /*timeout=*/1) == 1) return Receive(links);
  }
}

absl::StatusOr<Received> Waiting::Receive(Links& links) {
  const Ids waited = *std::exchange(cameras_, std::nullopt);
  ASSIGN_OR_RETURN(const OwnedReply owned, links.waits.Receive());
  const Reply reply = *owned;
  if (const absl::Status status = reply.ToStatus(); !status.ok()) {
    if (BreaksConnection(status)) return status;
    // A group was lost, or a key became something else: taking makes groups and finds out.
    for (const std::string& id : waited) {
      if (Camera* camera = schedule_.Find(id)) camera->needs_group = true;
    }
    return Received();
  }
  Received received;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const std::string_view key = reply.at(i).at(0).Text();
    const Reply entries = reply.at(i).at(1);
    constexpr std::string_view kBeforeId = "}:cam:";
    const std::size_t at = key.find(kBeforeId);
    if (at == std::string_view::npos || entries.size() == 0) continue;
    const Camera* camera = schedule_.Find(key.substr(at + kBeforeId.size()));
    // One that is in work, or is no longer ours, has its frame claimed later.
    if (camera == nullptr || camera->state == Camera::State::kInWork) continue;
    received[camera->id] = FrameOf(settings_, *camera, entries.at(0).at(0), entries.at(0).at(1),
                                   /*claimed=*/false);
  }
  return received;
}

}  // namespace inferpool::streams
