// Calls through gRPC's asynchronous interface, each served by a thread that may block
// (leader_follower_threads.h).
//
// The synchronous interface is simpler, but each of its calls has a completion queue of its own to
// wait on. Here a small call takes half as much processor time (bench/wire), and a client that
// leaves is an event, for which nobody needs to ask. docs/decisions/0010 has the figures. Messages
// are bytes here, because gRPC would parse them on the thread that is at the queue.
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

// The length to which the text of a status is cut. It is sent in a header, and gRPC accepts 8 KiB
// of headers.
inline constexpr std::size_t kMaxStatusText = 2048;

// What the calls of a server share: their threads and the limit of their number.
struct CallLimit {
  LeaderFollowerThreads& threads;
  const std::size_t max_calls;         // calls in progress
  std::atomic<std::size_t> calls = 0;  // from arrival until gRPC has sent the answer
};

// One call of a client, which exists from the time it is awaited until it has ended. It deletes
// itself after the last of its events, which gRPC has as tags.
class Call {
 public:
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ServerContext& context() { return context_; }

  // Stops when the client has gone, when the deadline has passed, and at the end of the call. A
  // callback on it must not block: it runs on a thread that serves other calls.
  std::stop_token gone() const { return gone_.get_token(); }

  // To be called by the thread that serves the call, before it blocks or works for longer than a
  // small message takes. When it returns false, the call must end at once with TooManyCalls().
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

  // Serves the call to its end, which is a Finish with `finished()` as its tag. The call may be
  // deleted when this returns. When it is not within the limit, it ends at once with
  // TooManyCalls().
  virtual void Serve(bool within_limit) = 0;

  // Returns the handler's status; INTERNAL when it throws because memory or threads are exhausted.
  static grpc::Status Guarded(const std::function<grpc::Status()>& handler);

  QueueEvent* arrived() { return &arrived_; }
  QueueEvent* finished() { return &finished_; }

 private:
  // A tag that calls a member function of this call.
  class CompletionEvent final : public QueueEvent {
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
  CompletionEvent ended_{*this, &Call::Ended};  // the client knows the end, or has gone
  std::atomic<int> events_left_ = 2;            // of finished_ and ended_
  LeaderTurn* turn_ = nullptr;                  // while it is served
  bool has_arrived_ = false;
};

// An operation on a stream, for whose end a thread waits. Only one at a time.
class Operation final : public QueueEvent {
 public:
  void Happened(bool ok) override;
  // Waits until the operation is complete and returns its success. Once for each operation.
  [[nodiscard]] bool Wait();

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  bool happened_ ABSL_GUARDED_BY(mutex_) = false;
  bool ok_ ABSL_GUARDED_BY(mutex_) = false;
};

// A method with one request and one answer. It must outlive its calls.
struct UnaryMethod {
  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

  CallLimit& limit;
  // Asks gRPC for the next call of the method, whose arrival has that tag.
  std::function<void(grpc::ServerContext*, grpc::ByteBuffer* request, Writer*, void* tag)> await;
  // Serves a call. It calls YieldQueue before it blocks or works for long.
  std::function<grpc::Status(Call&, grpc::ByteBuffer& request, grpc::ByteBuffer& response)> serve;
};

class UnaryCall final : public Call {
 public:
  using Method = UnaryMethod;

  // Asks gRPC for a call of the method. To be used at the start: each call then asks for the next
  // one.
  static void Await(const UnaryMethod& method);

 private:
  explicit UnaryCall(const UnaryMethod& method) : Call(method.limit), method_(method) {}

  void AwaitNext() override { Await(method_); }
  void Serve(bool within_limit) override;

  const UnaryMethod& method_;
  grpc::ByteBuffer request_;
  UnaryMethod::Writer writer_{&context()};
};

// A call of a method that answers with a stream. `Stream` is a grpc::ServerAsyncWriter or
// grpc::ServerAsyncReaderWriter of bytes.
template <typename Stream>
class StreamingCall;

template <typename Stream>
struct StreamingMethod {
  CallLimit& limit;
  // Asks gRPC for the next call of the method. `request` gets the message that comes with the call;
  // it stays empty when requests are a stream too.
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

  // Waits for the client's next message. False when there are no more, or the client has gone. One
  // thread at a time.
  [[nodiscard]] bool Read(grpc::ByteBuffer& message) {
    stream_.Read(&message, &read_);
    return read_.Wait();
  }

  // Sends a message and waits until the next one can be sent. False when the client has gone. One
  // thread at a time, which need not be the one that reads.
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
