#include "modelserver/rpc/call.h"

#include <exception>

#include "shared/base/log.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {

Call::Call(CallLimit& limit) : limit_(limit) {
  context_.AsyncNotifyWhenDone(&ended_);
}

Call::~Call() {
  if (has_arrived_) --limit_.calls;
}

void Call::Arrived(bool ok) {
  if (!ok) {  // the server shuts down, and nothing else is to come
    delete this;
    return;
  }
  has_arrived_ = true;
  const bool within_limit = ++limit_.calls <= limit_.max_calls;
  AwaitNext();
  LeaderTurn turn(limit_.threads);
  turn_ = &turn;
  Serve(within_limit);
}

void Call::Finished(bool /*ok*/) {
  Release();
}

void Call::Ended(bool /*ok*/) {
  gone_.request_stop();
  Release();
}

void Call::Release() {
  if (events_left_.fetch_sub(1) == 1) {
    delete this;
  }
}

grpc::Status Call::Guarded(const std::function<grpc::Status()>& handler) {
  try {
    return handler();
  } catch (const std::exception& error) {
    log::Error("call failed", {{"reason", error.what()}});
    return {grpc::StatusCode::INTERNAL, Utf8Text(error.what(), kMaxStatusText)};
  }
}

void Operation::Happened(bool ok) {
  const MutexLock lock(mutex_);
  ok_ = ok;
  happened_ = true;
  changed_.notify_one();  // under the lock, because this may end when the waiting thread wakes up
}

bool Operation::Wait() {
  MutexLock lock(mutex_);
  changed_.wait(lock.native(),
                [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return happened_; });
  happened_ = false;
  return ok_;
}

void UnaryCall::Await(const UnaryMethod& method) {
  auto* call = new UnaryCall(method);
  method.await(&call->context(), &call->request_, &call->writer_, call->arrived());
}

void UnaryCall::Serve(bool within_limit) {
  grpc::ByteBuffer response;
  const grpc::Status status =
      within_limit ? Guarded([&] { return method_.serve(*this, request_, response); })
                   : TooManyCalls();
  writer_.Finish(response, status, finished());
}

}  // namespace inferpool::modelserver
