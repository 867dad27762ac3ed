#include "worker/backend/rpc/readiness_checks.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string_view>
#include <utility>

#include "worker/backend/rpc/grpc_status.h"
#include "worker/backend/rpc/messages.h"

namespace inferpool::backend {
namespace {

using ProbeResult = Breaker::ProbeResult;

// gRPC ends a call that it can end within this.
constexpr std::chrono::milliseconds kGrace{200};
// A Triton lists its repository for an index, which may be an object store.
constexpr std::chrono::seconds kIndexPause{1};
constexpr std::chrono::seconds kIndexPatience{5};
// One without an index may have been replaced by one that has it.
constexpr std::chrono::seconds kNoIndexPause{30};

constexpr const char* kNoModel = "none";

// A model that can be used, or none. None can while a server that is `starting` loads one.
std::string ReadyModelOf(const inference::RepositoryIndexResponse& index, bool starting) {
  const auto has = [](std::string_view state) {
    return [state](const auto& model) { return model.state() == state; };
  };
  if (starting && std::ranges::any_of(index.models(), has("LOADING"))) return "";
  const auto it = std::ranges::find_if(index.models(), [](const auto& model) {
    return SaysReady(model.state(), /*asked_for_ready=*/false);
  });
  return it == index.models().end() ? "" : it->name();
}

}  // namespace

struct ReadinessChecks::Call {
  explicit Call(Deadline call_deadline) : deadline(call_deadline) {
    context.set_deadline(WallTime(deadline));
  }
  virtual ~Call() = default;

  const Deadline deadline;
  grpc::ClientContext context;
  grpc::Status status;
  std::function<Verdict()> judge;
};

struct ReadinessChecks::Server {
  std::size_t index;
  Stub* stub;
  std::unique_ptr<Call> call = {};  // null: none is out
  bool served = false;              // as of the latest answer
  std::string model = {};           // that was ready then; empty: not known
  TimePoint next_index = {};        // RepositoryIndex is asked for no sooner
  bool has_index = true;            // as far as it is known
  bool says_ready = true;           // it has ServerReady
  bool had_sign = false;            // one of its signs has been ready
};

ReadinessChecks::ReadinessChecks(const std::vector<Stub*>& servers, Signs signs)
    : signs_(std::move(signs)), queue_(std::make_unique<grpc::CompletionQueue>()) {
  for (Stub* stub : servers) servers_.push_back({servers_.size(), stub});
}

ReadinessChecks::~ReadinessChecks() {
  for (const Server& server : servers_) {
    if (server.call != nullptr) server.call->context.TryCancel();
  }
  const Deadline end = Deadline::After(kGrace);
  while (AnyOut() && Take(end) != nullptr) {
  }
  if (!AnyOut()) return;
  for (Server& server : servers_) static_cast<void>(server.call.release());
  static_cast<void>(queue_.release());
}

bool ReadinessChecks::IsOut(std::size_t server) const {
  return servers_[server].call != nullptr;
}

bool ReadinessChecks::AnyOut() const {
  return std::ranges::any_of(servers_, [](const Server& server) { return server.call != nullptr; });
}

void ReadinessChecks::Ask(std::size_t index, Deadline deadline) {
  Server& server = servers_[index];
  const auto judge = [this, &server, deadline](const grpc::Status& end,
                                               const auto& response) -> Verdict {
    const absl::Status status = ToStatus(end, "ServerReady");
    server.says_ready = !absl::IsUnimplemented(status);
    if (server.says_ready && !status.ok()) {
      const bool away = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
      return ServesNot(server, away ? ProbeResult::kUnanswered : ProbeResult::kNotReady, status);
    }
    if (server.says_ready && response.ready()) return Serves(server, /*in_part=*/false);
    return server.model.empty() ? AskForIndex(server, deadline) : AskAboutModel(server, deadline);
  };
  Send(server, deadline, &Stub::AsyncServerReady, inference::ServerReadyRequest(), judge);
}

ReadinessChecks::Verdict ReadinessChecks::AskAboutModel(Server& server, Deadline deadline) {
  inference::ModelReadyRequest request;
  request.set_name(server.model);
  const auto judge = [this, &server, deadline](const grpc::Status& end,
                                               const auto& response) -> Verdict {
    if (end.ok() && response.ready()) return Serves(server, /*in_part=*/server.says_ready);
    return AskForIndex(server, deadline);
  };
  Send(server, deadline, &Stub::AsyncModelReady, request, judge);
  return std::nullopt;
}

ReadinessChecks::Verdict ReadinessChecks::AskForIndex(Server& server, Deadline deadline) {
  const auto not_ready = [&server] {
    return ServesNot(server, ProbeResult::kNotReady,
                     absl::UnavailableError("the model server says it is not ready"));
  };
  const auto ask_on = [this, &server, deadline] {
    return AskAboutSigns(server, signs_ ? signs_(server.index) : std::vector<std::string>(), 0,
                         /*has_any=*/false, deadline);
  };
  const TimePoint now = Clock::now();
  if (now < server.next_index) return server.has_index ? Verdict(not_ready()) : ask_on();
  const auto judge = [&server, not_ready, ask_on](const grpc::Status& end,
                                                  const auto& index) -> Verdict {
    server.has_index = end.error_code() != grpc::StatusCode::UNIMPLEMENTED;
    if (!server.has_index) {
      server.next_index = Clock::now() + kNoIndexPause;
      return ask_on();
    }
    server.model = end.ok() ? ReadyModelOf(index, /*starting=*/!server.served) : "";
    return server.model.empty() ? not_ready() : Serves(server, /*in_part=*/server.says_ready);
  };
  server.next_index = now + kIndexPause;
  const Deadline later(std::max(deadline.at(), now + kIndexPatience));
  Send(server, later, &Stub::AsyncRepositoryIndex, inference::RepositoryIndexRequest(), judge);
  return std::nullopt;
}

ReadinessChecks::Verdict ReadinessChecks::AskAboutSigns(Server& server,
                                                        std::vector<std::string> signs,
                                                        std::size_t at, bool has_any,
                                                        Deadline deadline) {
  if (at == signs.size()) {
    // What is named may be on another server.
    const bool awaits_one = server.had_sign || (has_any && servers_.size() == 1);
    if (!server.says_ready && !awaits_one) return AskWhetherLive(server, deadline);
    return ServesNot(
        server, ProbeResult::kNotReady,
        absl::UnavailableError(server.says_ready ? "the model server says it is not ready"
                                                 : "no model that is known of is ready there"));
  }
  inference::ModelReadyRequest request;
  request.set_name(signs[at]);
  const auto judge = [this, &server, signs = std::move(signs), at, has_any, deadline](
                         const grpc::Status& end, const auto& response) -> Verdict {
    if (end.ok() && response.ready()) {
      server.model = signs[at];
      server.had_sign = true;
      return Serves(server, /*in_part=*/server.says_ready);
    }
    if (const absl::Status status = ToStatus(end, "ModelReady"); absl::IsDeadlineExceeded(status)) {
      return ServesNot(server, ProbeResult::kUnanswered, status);
    }
    const bool has_it = end.ok() || end.error_code() == grpc::StatusCode::UNAVAILABLE;
    return AskAboutSigns(server, signs, at + 1, has_any || has_it, deadline);
  };
  Send(server, deadline, &Stub::AsyncModelReady, request, judge);
  return std::nullopt;
}

ReadinessChecks::Verdict ReadinessChecks::AskWhetherLive(Server& server, Deadline deadline) {
  const auto judge = [this, &server, deadline](const grpc::Status& end,
                                               const auto& response) -> Verdict {
    const absl::Status status = ToStatus(end, "ServerLive");
    if (absl::IsUnimplemented(status)) return AskForNoModel(server, deadline);
    if (status.ok() && response.live()) return Serves(server, /*in_part=*/false);
    const bool away = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
    return ServesNot(
        server, away ? ProbeResult::kUnanswered : ProbeResult::kNotReady,
        status.ok() ? absl::UnavailableError("the model server says it is not live") : status);
  };
  Send(server, deadline, &Stub::AsyncServerLive, inference::ServerLiveRequest(), judge);
  return std::nullopt;
}

template <typename Request, typename Response>
ReadinessChecks::Verdict ReadinessChecks::AskAboutNothing(Server& server, Deadline deadline,
                                                          Start<Request, Response> start,
                                                          const Request& request, Question next) {
  const auto judge = [this, &server, deadline, next](const grpc::Status& end,
                                                     const auto&) -> Verdict {
    const absl::Status status = ToStatus(end, "a call about a model");
    if (absl::IsUnimplemented(status) && next != nullptr) return (this->*next)(server, deadline);
    if (absl::IsUnimplemented(status)) {
      return ServesNot(server, ProbeResult::kNotReady,
                       absl::UnavailableError("the server does not speak KServe v2 "
                                              "(inference.GRPCInferenceService)"));
    }
    const bool away = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
    if (away) return ServesNot(server, ProbeResult::kUnanswered, status);
    return Serves(server, /*in_part=*/false);
  };
  Send(server, deadline, start, request, judge);
  return std::nullopt;
}

ReadinessChecks::Verdict ReadinessChecks::AskForNoModel(Server& server, Deadline deadline) {
  inference::ModelReadyRequest request;
  request.set_name(kNoModel);
  return AskAboutNothing(server, deadline, &Stub::AsyncModelReady, request,
                         &ReadinessChecks::AskForNoMetadata);
}

ReadinessChecks::Verdict ReadinessChecks::AskForNoMetadata(Server& server, Deadline deadline) {
  inference::ModelMetadataRequest request;
  request.set_name(kNoModel);
  return AskAboutNothing(server, deadline, &Stub::AsyncModelMetadata, request,
                         &ReadinessChecks::AskForNoInference);
}

ReadinessChecks::Verdict ReadinessChecks::AskForNoInference(Server& server, Deadline deadline) {
  inference::ModelInferRequest request;
  request.set_model_name(kNoModel);
  return AskAboutNothing(server, deadline, &Stub::AsyncModelInfer, request, nullptr);
}

ReadinessChecks::Answer ReadinessChecks::Serves(Server& server, bool in_part) {
  server.served = true;
  return {server.index, ProbeResult::kReady, absl::OkStatus(), in_part};
}

ReadinessChecks::Answer ReadinessChecks::ServesNot(Server& server, ProbeResult result,
                                                   absl::Status reason) {
  server.served = false;
  server.model.clear();
  return {server.index, result, std::move(reason)};
}

template <typename Request, typename Response, typename Judge>
void ReadinessChecks::Send(Server& server, Deadline deadline, Start<Request, Response> start,
                           const Request& request, const Judge& judge) {
  struct CallOf : Call {
    using Call::Call;
    Response response;
    Reader<Response> reader;
  };
  auto call = std::make_unique<CallOf>(deadline);
  call->judge = [judge, of = call.get()] { return judge(of->status, of->response); };
  call->reader = (server.stub->*start)(&call->context, request, queue_.get());
  call->reader->Finish(&call->response, &call->status, static_cast<Call*>(call.get()));
  server.call = std::move(call);
}

std::unique_ptr<ReadinessChecks::Call> ReadinessChecks::Take(Deadline until) {
  void* tag = nullptr;
  bool ok = false;
  if (queue_->AsyncNext(&tag, &ok, WallTime(until)) != grpc::CompletionQueue::GOT_EVENT) {
    return nullptr;
  }
  const auto it = std::ranges::find(
      servers_, tag, [](const Server& server) -> void* { return server.call.get(); });
  return std::move(it->call);
}

std::optional<ReadinessChecks::Answer> ReadinessChecks::Next(Deadline until) {
  while (const std::unique_ptr<Call> call = Take(until)) {
    if (Verdict verdict = call->judge()) return verdict;
  }
  return std::nullopt;
}

bool ReadinessChecks::IsOverdue(std::size_t server, TimePoint now) {
  const auto& call = servers_[server].call;
  if (call == nullptr || !call->deadline.Expired(now - kGrace)) return false;
  call->context.TryCancel();
  return true;
}

}  // namespace inferpool::backend
