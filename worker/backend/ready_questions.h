// ServerReady calls to several model servers at once.
#pragma once

#include <grpcpp/completion_queue.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "shared/deadline.h"
#include "shared/status.h"
#include "worker/backend/breaker.h"

namespace inferpool::backend {

// For one thread.
class ReadyQuestions {
 public:
  // Room for one question to each of `servers` servers.
  explicit ReadyQuestions(std::size_t servers);

  // Cancels those that are out. What does not end, because a socket to a server that reads nothing
  // is full, is left to gRPC until the process exits.
  ~ReadyQuestions();
  ReadyQuestions(const ReadyQuestions&) = delete;
  ReadyQuestions& operator=(const ReadyQuestions&) = delete;

  bool IsOut(std::size_t server) const { return questions_[server] != nullptr; }
  bool AnyOut() const;

  // None must be out to that server.
  void Ask(std::size_t server, inference::GRPCInferenceService::StubInterface& stub,
           Deadline deadline);

  struct Answer {
    std::size_t server;
    Breaker::ProbeResult result;
    absl::Status ready;  // UNAVAILABLE when it says that it is not; otherwise the call's status
  };

  // The next answer; none by `until`.
  std::optional<Answer> Next(Deadline until);

  // Whether a question is out past its deadline: the server reads nothing. It is cancelled, and its
  // answer may come yet.
  bool IsOverdue(std::size_t server, TimePoint now);

 private:
  struct Question;

  std::unique_ptr<grpc::CompletionQueue> queue_;
  std::vector<std::unique_ptr<Question>> questions_;  // of each server; null: none is out
};

}  // namespace inferpool::backend
