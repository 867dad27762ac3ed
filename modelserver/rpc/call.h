// Calls of gRPC's asynchronous interface, each served by a thread that may block
// (leader_follower_threads.h).
//
// That interface and not the synchronous one, whose calls have a completion queue each to wait on:
// a small call takes half as much processor time in this one (bench/wire), and it tells of itself
// when a caller has gone. docs/decisions/0010 has the figures. Messages come and go as bytes, as
// gRPC would parse them on the thread that is at the queue.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <stop_token>

#include "modelserver/rpc/leader_follower_threads.h"
#include "shared/base/check.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {

// A status travels in a header, and gRPC takes 8 KiB of those.
inline constexpr std::size_t kMaxStatusText = 2048;

// What the calls of a server have in common.
struct CallLimit {
  LeaderFollowerThreads& threads;
  const std::size_t max_calls;         // calls in progress
  std::atomic<std::size_t> calls = 0;  // from their arrival until their callers have the answers
};

// One call, from the wait for it to its end. It owns itself: gRPC has its events as tags, and it
// goes with the last of them.
class Call {
 public:
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ServerContext& context() { return context_; }

  // Stops when the caller has gone or its deadline is over, also when the call is at its end.
  // Callbacks run on a thread that has other calls to look after, so they may not wait.
  std::stop_token gone() const { return gone_.get_token(); }

  // To be asked by the thread that serves the call before it waits, or takes longer than a small
  // message does. If not, the call must end at once, with TooManyCalls().
  [[nodiscard]] bool YieldQueue() {
    CHECK(turn_ != nullptr);
    return turn_->YieldQueue();
  }

  static grpc::Status TooManyCalls() {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the server has no room for another call"};
  }

 protected:
  explicit Call(CallLimit& limit);
  virtual ~Call();

  // Asks gRPC for the next call of this method.
  virtual void AwaitNext() = 0;

  // Serves the call to its end, which is a Finish with `finished()` as its tag; the call may be
  // gone when that returns. Past the limit that is at once, with TooManyCalls().
  virtual void Serve(bool within_limit) = 0;

  // What the handler returns, or that it has thrown, for want of memory or threads.
  static grpc::Status Guarded(const std::function<grpc::Status()>& handler);

  Event* arrived() { return &arrived_; }
  Event* finished() { return &finished_; }

 private:
  // A tag that calls a member function of this call.
  class CompletionEvent final : public Event {
   public:
    CompletionEvent(Call& call, void (Call::*then)(bool ok)) : call_(call), then_(then) {}
    void Happened(bool ok) override { (call_.*then_)(ok); }

   private:
    Call& call_;
    void (Call::*const then_)(bool ok);
  };

  void Arrived(bool ok);
  void Finished(bool ok);
  void Ended(bool ok);
  void Release();

  CallLimit& limit_;
  const LeaderFollowerThreads::Counted counted_{limit_.threads};  // ends after the rest of it
  grpc::ServerContext context_;
  std::stop_source gone_;
  CompletionEvent arrived_{*this, &Call::Arrived};
  CompletionEvent finished_{*this, &Call::Finished};
  CompletionEvent ended_{*this, &Call::Ended};  // the caller knows the end, or has gone
  std::atomic<int> events_left_ = 2;            // finished and ended
  LeaderTurn* turn_ = nullptr;                  // while it is served
  bool has_arrived_ = false;
};

// An operation on a stream, for whose end a thread waits. One after the other.
class Operation final : public Event {
 public:
  void Happened(bool ok) override;
  // Once for each; what `ok` was.
  [[nodiscard]] bool Wait();

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  bool happened_ ABSL_GUARDED_BY(mutex_) = false;
  bool ok_ ABSL_GUARDED_BY(mutex_) = false;
};

// A method with one request and one answer. Must outlive its calls.
struct UnaryMethod {
  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

  CallLimit& limit;
  // Asks gRPC for the next call, with that tag.
  std::function<void(grpc::ServerContext*, grpc::ByteBuffer* request, Writer*, void* tag)> await;
  // Asks YieldQueue where it has to.
  std::function<grpc::Status(Call&, grpc::ByteBuffer& request, grpc::ByteBuffer& response)> serve;
};

class UnaryCall final : public Call {
 public:
  using Method = UnaryMethod;

  // Asks gRPC for a call of the method; as each call asks for the next, this is for the start.
  static void Await(const UnaryMethod& method);

 private:
  explicit UnaryCall(const UnaryMethod& method) : Call(method.limit), method_(method) {}

  void AwaitNext() override { Await(method_); }
  void Serve(bool within_limit) override;

  const UnaryMethod& method_;
  grpc::ByteBuffer request_;
  UnaryMethod::Writer writer_{&context()};
};

// A method that answers with a stream, a ServerAsyncWriter or ServerAsyncReaderWriter of bytes.
template <typename Stream>
class StreamingCall;

template <typename Stream>
struct StreamingMethod {
  CallLimit& limit;
  // `request` is what comes with the call; nothing, where requests are a stream too.
  std::function<void(grpc::ServerContext*, grpc::ByteBuffer* request, Stream*, void* tag)> await;
  std::function<grpc::Status(StreamingCall<Stream>&)> serve;
};

template <typename Stream>
class StreamingCall final : public Call {
 public:
  using Method = StreamingMethod<Stream>;

  static void Await(const Method& method) {
    auto* call = new StreamingCall(method);
    method.await(&call->context(), &call->request_, &call->stream_, call->arrived());
  }

  grpc::ByteBuffer& request() { return request_; }

  // Waits. False: there is no more, or the caller has gone. One thread at a time.
  [[nodiscard]] bool Read(grpc::ByteBuffer& message) {
    stream_.Read(&message, &read_);
    return read_.Wait();
  }

  // Waits. False: the caller has gone. One thread at a time, which need not be the one that reads.
  bool Write(const grpc::ByteBuffer& message) {
    stream_.Write(message, &written_);
    return written_.Wait();
  }

 private:
  explicit StreamingCall(const Method& method) : Call(method.limit), method_(method) {}

  void AwaitNext() override { Await(method_); }

  void Serve(bool within_limit) override {
    const grpc::Status status = within_limit && YieldQueue()
                                    ? Guarded([&] { return method_.serve(*this); })
                                    : TooManyCalls();
    stream_.Finish(status, finished());
  }

  const Method& method_;
  grpc::ByteBuffer request_;
  Stream stream_{&context()};
  Operation read_;
  Operation written_;
};

}  // namespace inferpool::modelserver
