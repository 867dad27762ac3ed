#include "modelserver/stream.h"

#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace inferpool::modelserver {
namespace {

using Answer = std::future<inference::ModelStreamInferResponse>;

// Answers to come, in order, between the thread that reads and the one that writes.
class Line {
 public:
  // Waits for room.
  void Push(Answer answer) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return size_ < kMaxInStream; });
    answers_.push_back(std::move(answer));
    ++size_;
    changed_.notify_all();
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  // The next; invalid when there are no more.
  Answer Pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !answers_.empty(); });
    if (answers_.empty()) return {};
    Answer answer = std::move(answers_.front());
    answers_.pop_front();
    return answer;
  }

  // The popped one has been written.
  void Done() {
    const std::lock_guard lock(mutex_);
    --size_;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::deque<Answer> answers_;
  std::size_t size_ = 0;  // with the one that is being written
  bool closed_ = false;
};

// The answer to come. Without a thread to spare, the request runs when its answer is waited for.
Answer Start(const std::function<
                 inference::ModelStreamInferResponse(const inference::ModelInferRequest&)>& infer,
             inference::ModelInferRequest request) {
  const auto shared = std::make_shared<inference::ModelInferRequest>(std::move(request));
  const auto run = [&infer, shared] { return infer(*shared); };
  try {
    return std::async(std::launch::async, run);
  } catch (const std::system_error&) {
    return std::async(std::launch::deferred, run);
  }
}

}  // namespace

void ServeStream(InferStream& stream, const std::function<inference::ModelStreamInferResponse(
                                          const inference::ModelInferRequest&)>& infer) {
  Line line;
  std::jthread writer([&] {
    for (Answer answer = line.Pop(); answer.valid(); answer = line.Pop()) {
      // To a client that has gone this fails at once; what runs ends first all the same.
      stream.Write(answer.get());
      line.Done();
    }
  });
  inference::ModelInferRequest request;
  while (stream.Read(&request)) {
    line.Push(Start(infer, std::move(request)));
    request = {};
  }
  line.Close();
}

}  // namespace inferpool::modelserver
