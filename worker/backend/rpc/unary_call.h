// Calls that return at their deadline, whatever the server does; messages are bytes.
//
// gRPC's blocking call does not: while the socket to a server that has stopped reading is full, a
// cancelled call still waits for its bytes to leave. Such a call is abandoned instead: its caller
// goes on, and its memory is freed when gRPC is done with it.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"
#include "shared/base/priority.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/trace_context.h"

namespace inferpool::backend {

// How long a call is worth making, and for whom it is made.
struct CallLimits {
  Deadline deadline;
  std::stop_token departed = {};  // stopped when nobody waits for the answer any more
  Priority priority = Priority::kNormal;
  std::shared_ptr<const TraceContext> trace = {};  // goes with the call as metadata; null: none
  // The input joins no others' and goes in the message: whatever becomes of the call, nobody else
  // feels it.
  bool alone = false;
};

// What has an eye on the server while calls are out.
struct CallWatch {
  std::stop_token given_up = {};          // stopped when the server has turned out to be hung
  std::function<void()> on_slow = [] {};  // called once in a call that takes over a second
};

struct Reply {
  absl::StatusOr<grpc::ByteBuffer> message;
  // The server is surely done with the request, or never had it. Otherwise it may still read the
  // shared memory that the request names, or write there.
  bool server_done = false;
};

// The calls of one channel. Thread safe.
class UnaryCalls {
 public:
  explicit UnaryCalls(const std::shared_ptr<grpc::Channel>& channel);
  ~UnaryCalls();
  UnaryCalls(const UnaryCalls&) = delete;
  UnaryCalls& operator=(const UnaryCalls&) = delete;

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // `method`: "ModelInfer", of the KServe service. The request's slices are sent from where they
  // lie, and may be held for as long as the call is: they must own their memory.
  // Errors: the server's and gRPC's; CANCELLED when `limits.departed` was stopped; UNAVAILABLE when
  // the server was given up, and when too many calls are abandoned, so that a hung server costs
  // bounded memory.
  Reply Call(std::string_view method, const grpc::ByteBuffer& request, const CallLimits& limits,
             const CallWatch& watch);

 private:
  struct Pending;

  // Frees the abandoned calls that have ended. True when there is room for one more.
  bool Sweep();

  const std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  Mutex mutex_;
  std::list<std::unique_ptr<Pending>> abandoned_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::backend
