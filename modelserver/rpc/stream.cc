#include "modelserver/rpc/stream.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "modelserver/rpc/message.h"
#include "modelserver/rpc/stream_window.h"
#include "shared/base/mutex.h"

namespace inferpool::modelserver {
namespace {

using Answer = std::future<inference::ModelStreamInferResponse>;

// Passes the answers to come, in the order of their requests, from the thread that reads to the one
// that writes.
class AnswerQueue {
 public:
  void Push(Answer answer) {
    const MutexLock lock(mutex_);
    answers_.push_back(std::move(answer));
    changed_.notify_one();
  }

  void Close() {
    const MutexLock lock(mutex_);
    closed_ = true;
    changed_.notify_one();
  }

  // Waits for the next one; an invalid future when there are no more.
  Answer Pop() {
    MutexLock lock(mutex_);
    changed_.wait(lock.native(), [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return closed_ || !answers_.empty();
    });
    if (answers_.empty()) return {};
    Answer answer = std::move(answers_.front());
    answers_.pop_front();
    return answer;
  }

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  std::deque<Answer> answers_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

struct Closer {
  AnswerQueue& answers;

  ~Closer() { answers.Close(); }
};

// Starts a request. When the system has no thread left, it runs when its answer is waited for.
Answer Start(const std::function<
                 inference::ModelStreamInferResponse(const inference::ModelInferRequest&)>& infer,
             inference::ModelInferRequest request, std::size_t bytes, StreamWindow& window) {
  const auto shared = std::make_shared<inference::ModelInferRequest>(std::move(request));
  const auto run = [&infer, shared, bytes, &window] {
    auto answer = infer(*shared);
    *shared = {};  // its memory is not needed while the answer waits
    window.Exchange(bytes, answer.ByteSizeLong());
    return answer;
  };
  try {
    return std::async(std::launch::async, run);
  } catch (const std::exception&) {
    return std::async(std::launch::deferred, run);
  }
}

}  // namespace

grpc::Status ServeStream(
    InferStream& stream,
    const std::function<inference::ModelStreamInferResponse(const inference::ModelInferRequest&)>&
        infer) {
  StreamWindow window;
  AnswerQueue answers;
  const std::jthread writer([&] {
    for (Answer next = answers.Pop(); next.valid(); next = answers.Pop()) {
      const inference::ModelStreamInferResponse answer = next.get();
      grpc::ByteBuffer message;
      // When the client has gone, this fails at once, but the requests that run are waited for.
      if (Serialize(answer, message).ok()) stream.Write(message);
      window.Release(answer.ByteSizeLong());
    }
  });
  // The writer ends only when the queue is closed, so that must happen even if something throws.
  const Closer closer{answers};
  grpc::Status status;
  for (grpc::ByteBuffer message; stream.Read(message);) {
    inference::ModelInferRequest request;
    if (!Parse(message, request)) {
      status = NotParsed();
      break;
    }
    const std::size_t bytes = request.ByteSizeLong();
    window.Acquire(bytes);
    answers.Push(Start(infer, std::move(request), bytes, window));
  }
  return status;
}

}  // namespace inferpool::modelserver
