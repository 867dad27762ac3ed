#include "worker/backend/ready_questions.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "worker/backend/grpc_status.h"

namespace inferpool::backend {
namespace {

// gRPC ends a call that it can end within this.
constexpr std::chrono::milliseconds kGrace{200};

}  // namespace

struct ReadyQuestions::Question {
  explicit Question(Deadline question_deadline) : deadline(question_deadline) {
    context.set_deadline(WallTime(deadline));
  }

  const Deadline deadline;
  grpc::ClientContext context;
  inference::ServerReadyResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReaderInterface<inference::ServerReadyResponse>> reader;
};

ReadyQuestions::ReadyQuestions(std::size_t servers)
    : queue_(std::make_unique<grpc::CompletionQueue>()), questions_(servers) {}

ReadyQuestions::~ReadyQuestions() {
  for (const auto& question : questions_) {
    if (question != nullptr) question->context.TryCancel();
  }
  const Deadline end = Deadline::After(kGrace);
  while (AnyOut() && Next(end)) {
  }
  if (!AnyOut()) return;
  for (auto& question : questions_) static_cast<void>(question.release());
  static_cast<void>(queue_.release());
}

bool ReadyQuestions::AnyOut() const {
  return std::ranges::any_of(questions_, [](const auto& question) { return question != nullptr; });
}

void ReadyQuestions::Ask(std::size_t server, inference::GRPCInferenceService::StubInterface& stub,
                         Deadline deadline) {
  auto& question = questions_[server];
  question = std::make_unique<Question>(deadline);
  question->reader = stub.AsyncServerReady(&question->context, {}, queue_.get());
  question->reader->Finish(&question->response, &question->status, question.get());
}

std::optional<ReadyQuestions::Answer> ReadyQuestions::Next(Deadline until) {
  void* tag = nullptr;
  bool ok = false;
  if (queue_->AsyncNext(&tag, &ok, WallTime(until)) != grpc::CompletionQueue::GOT_EVENT) {
    return std::nullopt;
  }
  const auto it =
      std::ranges::find(questions_, tag, [](const auto& q) -> void* { return q.get(); });
  const std::unique_ptr<Question> question = std::exchange(*it, nullptr);
  const auto server = static_cast<std::size_t>(it - questions_.begin());
  absl::Status status = ToStatus(question->status, "ServerReady");
  if (!status.ok()) {
    const bool away = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
    return Answer{
        server, away ? Breaker::ProbeResult::kUnanswered : Breaker::ProbeResult::kNotReady, status};
  }
  if (question->response.ready()) return Answer{server, Breaker::ProbeResult::kReady, status};
  return Answer{server, Breaker::ProbeResult::kNotReady,
                absl::UnavailableError("the model server says it is not ready")};
}

bool ReadyQuestions::IsOverdue(std::size_t server, TimePoint now) {
  const auto& question = questions_[server];
  if (question == nullptr || !question->deadline.Expired(now - kGrace)) return false;
  question->context.TryCancel();
  return true;
}

}  // namespace inferpool::backend
