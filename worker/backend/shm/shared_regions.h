// Which arenas which model servers know: KServe's system shared memory extension.
//
// The name of a region at a server is the segment's. What a dead or finished arena leaves at the
// servers is taken away by Unregister, which the sweep calls (sweep.h); at an orderly exit, let go
// of the arenas and sweep once more.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/shm/arena.h"

namespace inferpool::backend {

// How tensors go to the model server (backend.transport).
enum class Transport {
  kAuto,    // by shared memory where the server can, else inline
  kShm,     // by shared memory, or not at all
  kInline,  // in the messages
};

// Whether a model server's error says that it does not know a region, as one that was restarted
// does not: Forget, and begin the call again with Prepare.
bool IsRegionUnknown(const absl::Status& status);

// What is to be done about a server that says no to shared memory.
std::string WhatToDo(std::string_view server, const absl::Status& refusal);

// Thread safe.
class SharedRegions {
 public:
  struct Target {
    std::string name;   // for messages
    UnaryCalls* calls;  // to it; outlives this
  };
  enum class Way { kShared, kInline };

  // `refused` is called when a server has said no, and may take its time: without a lock.
  SharedRegions(
      Transport transport, const std::vector<Target>& targets,
      std::function<void()> refused = [] {});

  // How a tensor in `arena` goes to the target of that index now. The first call for an arena
  // registers it there, and those at the same time wait for that, until their deadlines and a
  // second at most. A server that is away or slow is asked again a second later; one that says no,
  // because it is on another host, has no such extension or was not told to use it, after a minute,
  // and when it is Reconnected. With Transport::kShm what would be kInline is an error: NotSetUp
  // (grpc_status.h) with what to do about it, or the server's UNAVAILABLE or DEADLINE_EXCEEDED.
  absl::StatusOr<Way> Prepare(std::size_t target, const std::shared_ptr<Arena>& arena,
                              Deadline deadline, TimePoint now);

  // The targets that have said no and are not to be asked again yet.
  std::vector<std::size_t> Refusing(TimePoint now);

  // The targets that do not know the arena and are not to be asked yet, whatever the reason.
  std::vector<std::size_t> NotNow(const std::string& arena, TimePoint now);

  // The target may have been started anew: it is asked again if it has said no.
  void Reconnected(std::size_t target);

  // The target does not know the arena (any more): the next Prepare registers it again.
  void Forget(std::size_t target, const std::string& arena);

  // The target forgets what it is told: it is not asked again for half a minute.
  void Rest(std::size_t target, TimePoint now);

  // Unregisters `arena` at all targets, each of which has its share of the time. OK when no server
  // has it any more, or can be expected to have it: it does not know it, has no such extension, or
  // is away, its table with it. Error: one did not answer in time.
  absl::Status Unregister(const std::string& arena, Deadline deadline);

 private:
  struct Server {
    explicit Server(const Target& target) : name(target.name), calls(*target.calls) {}

    const std::string name;
    UnaryCalls& calls;
    std::map<std::string, std::weak_ptr<Arena>> registered;
    bool asking = false;
    // Why it has no memory of ours, until `ask_again`; `refuses`: by its own word.
    absl::Status reason;
    bool refuses = false;
    TimePoint ask_again{};
  };

  absl::StatusOr<Way> NotShared(const Server& server) const;
  void Settle(Server& server, const std::shared_ptr<Arena>& arena, const absl::Status& answer,
              TimePoint now, bool pause);

  const Transport transport_;
  const std::function<void()> refused_;
  Mutex mutex_;
  std::condition_variable answered_;
  std::vector<std::unique_ptr<Server>> servers_;  // their insides, but for `calls`: by mutex_
};

}  // namespace inferpool::backend
