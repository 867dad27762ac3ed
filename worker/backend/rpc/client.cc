#include "worker/backend/rpc/client.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "proto/model_config.pb.h"
#include "worker/backend/rpc/ready_questions.h"

namespace inferpool::backend {
namespace {

// gRPC may answer a call whose deadline was over before it began.
absl::Status CheckNotOver(Deadline deadline) {
  return deadline.Expired(Clock::now()) ? absl::DeadlineExceededError("no time was left")
                                        : absl::OkStatus();
}

TensorSpec ToSpec(const inference::ModelMetadataResponse::TensorMetadata& tensor) {
  return {tensor.name(), tensor.datatype(), {tensor.shape().begin(), tensor.shape().end()}};
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Where the class names are in a model's config: KServe has no call that fetches labels.
constexpr const char* kClassNames = "class_names";

constexpr std::string_view kInfer = "ModelInfer";

// gRPC ends a call at its deadline, usually within this.
constexpr std::chrono::milliseconds kGrace{200};

bool MayRepeat(Breaker::Outcome outcome) {
  return outcome == Breaker::Outcome::kFailed || outcome == Breaker::Outcome::kDoubtful;
}

// A message of ours as the bytes that go over the wire.
absl::StatusOr<grpc::ByteBuffer> ToBytes(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status status =
      grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(message, &bytes,
                                                                                 &own);
  if (!status.ok()) return absl::InternalError("the request cannot be encoded");
  return bytes;
}

std::vector<std::unique_ptr<Target>> MakeTargets(const std::vector<std::string>& names,
                                                 int message_mb, const ClientOptions& options,
                                                 Doorbell& bell) {
  std::vector<std::unique_ptr<Target>> targets;
  targets.reserve(names.size());
  for (const std::string& name : names) {
    targets.push_back(std::make_unique<Target>(name, message_mb, options, bell));
  }
  return targets;
}

}  // namespace

Client::Client(const std::vector<std::string>& targets, int message_mb,
               const ClientOptions& options)
    : counts_(options.counts),
      targets_(MakeTargets(targets, message_mb, options, bell_)),
      prober_(targets_, bell_) {}

absl::Status Client::ServerReady(Deadline deadline) const {
  RETURN_IF_ERROR(CheckNotOver(deadline));
  std::vector<ReadyQuestions::Stub*> stubs;
  for (const auto& target : targets_) stubs.push_back(&target->stub());
  ReadyQuestions questions(stubs);
  for (std::size_t i = 0; i < stubs.size(); ++i) questions.Ask(i, deadline);
  const Deadline end(deadline.at() + kGrace);
  absl::Status first_error;
  while (questions.AnyOut()) {
    const auto answer = questions.Next(end);
    if (!answer) return absl::DeadlineExceededError("the model server did not answer in time");
    if (answer->ready.ok()) return answer->ready;
    if (first_error.ok()) first_error = answer->ready;
  }
  return first_error;
}

absl::StatusOr<std::vector<std::string>> Client::ReadyModels(Deadline deadline) const {
  const auto response = RepositoryIndex(/*only_ready=*/true, {deadline});
  if (!response.ok()) return response.status();
  std::set<std::string> names;  // a model is listed once a version
  for (const auto& model : response->models()) names.insert(model.name());
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<ModelDescription> Client::Describe(const std::string& model,
                                                  Deadline deadline) const {
  inference::ModelMetadataRequest metadata_request;
  metadata_request.set_name(model);
  const auto metadata =
      Ask<inference::ModelMetadataResponse>("ModelMetadata", metadata_request, {deadline});
  if (!metadata.ok()) return metadata.status();
  inference::ModelConfigRequest config_request;
  config_request.set_name(model);
  const auto answer =
      Ask<inference::ModelConfigResponse>("ModelConfig", config_request, {deadline});
  if (!answer.ok()) return answer.status();
  const inference::ModelConfig& config = answer->config();
  ModelDescription description;
  description.name = metadata->name();
  if (metadata->versions_size() > 0) {
    description.version = metadata->versions(metadata->versions_size() - 1);
  }
  description.max_batch_size = config.max_batch_size();
  description.priority_levels = config.dynamic_batching().priority_levels();
  description.default_priority_level = config.dynamic_batching().default_priority_level();
  std::ranges::transform(metadata->inputs(), std::back_inserter(description.inputs), ToSpec);
  std::ranges::transform(metadata->outputs(), std::back_inserter(description.outputs), ToSpec);
  for (const auto& [key, value] : config.parameters()) {
    if (key == kClassNames) {
      description.class_names = Lines(value.string_value());
    } else {
      description.parameters[key] = value.string_value();
    }
  }
  return description;
}

absl::StatusOr<inference::ServerMetadataResponse> Client::ServerMetadata(
    const CallLimits& limits) const {
  return Ask<inference::ServerMetadataResponse>("ServerMetadata",
                                                inference::ServerMetadataRequest(), limits);
}

absl::StatusOr<inference::ModelReadyResponse> Client::ModelReady(const std::string& model,
                                                                 const std::string& version,
                                                                 const CallLimits& limits) const {
  return AskOfModel<inference::ModelReadyRequest, inference::ModelReadyResponse>(
      "ModelReady", model, version, limits);
}

absl::StatusOr<inference::ModelMetadataResponse> Client::ModelMetadata(
    const std::string& model, const std::string& version, const CallLimits& limits) const {
  return AskOfModel<inference::ModelMetadataRequest, inference::ModelMetadataResponse>(
      "ModelMetadata", model, version, limits);
}

absl::StatusOr<inference::ModelConfigResponse> Client::ModelConfig(const std::string& model,
                                                                   const std::string& version,
                                                                   const CallLimits& limits) const {
  return AskOfModel<inference::ModelConfigRequest, inference::ModelConfigResponse>(
      "ModelConfig", model, version, limits);
}

absl::StatusOr<inference::ModelStatisticsResponse> Client::ModelStatistics(
    const std::string& model, const std::string& version, const CallLimits& limits) const {
  return AskOfModel<inference::ModelStatisticsRequest, inference::ModelStatisticsResponse>(
      "ModelStatistics", model, version, limits);
}

absl::StatusOr<inference::RepositoryIndexResponse> Client::RepositoryIndex(
    bool only_ready, const CallLimits& limits) const {
  inference::RepositoryIndexRequest request;
  request.set_ready(only_ready);
  return Ask<inference::RepositoryIndexResponse>("RepositoryIndex", request, limits);
}

absl::StatusOr<inference::ModelInferResponse> Client::Infer(
    const inference::ModelInferRequest& request, const CallLimits& limits) const {
  return Ask<inference::ModelInferResponse>(kInfer, request, limits);
}

Answer Client::Infer(const Encoder& encode, const CallLimits& limits) const {
  return Call(kInfer, encode, limits);
}

absl::Status Client::CheckAdmits() const {
  const TimePoint now = Clock::now();
  const auto open = [now](const auto& target) {
    return target->breaker().state(now) == Breaker::State::kOpen;
  };
  if (!std::ranges::all_of(targets_, open)) return absl::OkStatus();
  Count(ModelCall::kMade);
  return Refuse();
}

TargetState Client::State(std::size_t target) const {
  const Target& of = *targets_[target];
  return {of.name(), of.MayConnect(), of.breaker().state(Clock::now()), of.openings()};
}

template <typename Response>
absl::StatusOr<Response> Client::Ask(std::string_view method,
                                     const google::protobuf::Message& request,
                                     const CallLimits& limits) const {
  Answer answer = Call(
      method, [&request](const Attempt&) { return ToBytes(request); }, limits);
  if (!answer.message.ok()) return answer.message.status();
  Response response;
  if (!grpc::GenericDeserialize<grpc::ProtoBufferReader, Response>(&*answer.message, &response)
           .ok()) {
    return absl::InternalError(fmt::format("{}: the answer cannot be decoded", method));
  }
  return response;
}

template <typename Request, typename Response>
absl::StatusOr<Response> Client::AskOfModel(std::string_view method, const std::string& model,
                                            const std::string& version,
                                            const CallLimits& limits) const {
  Request request;
  request.set_name(model);
  request.set_version(version);
  return Ask<Response>(method, request, limits);
}

Answer Client::Call(std::string_view method, const Encoder& encode,
                    const CallLimits& limits) const {
  if (absl::Status status = CheckNotOver(limits.deadline); !status.ok()) return {status};
  Count(ModelCall::kMade);
  budget_.CountCall();
  std::optional<Pick> pick = Choose(std::nullopt);
  if (!pick) return {Refuse()};
  Try first = Make(*std::move(pick), /*settled=*/true, method, encode, limits);
  const std::size_t target = first.answer.target;
  if (!absl::IsUnavailable(first.answer.message.status()) || !MayRepeat(first.outcome) ||
      limits.deadline.Expired(Clock::now())) {
    return std::move(first.answer);
  }
  std::optional<Pick> other = Choose(target);
  // What is busy is not asked twice, nor is a server to which there is no connection.
  const bool elsewhere = other && other->target != target;
  const bool again =
      other && first.outcome == Breaker::Outcome::kFailed && targets_[target]->MayConnect();
  if ((!elsewhere && !again) || !budget_.Take()) return std::move(first.answer);
  Count(ModelCall::kRetried);
  Try second = Make(*std::move(other), first.answer.settled, method, encode, limits);
  second.answer.settled &= first.answer.settled;
  return std::move(second.answer);
}

Client::Try Client::Make(Pick pick, bool settled, std::string_view method, const Encoder& encode,
                         const CallLimits& limits) const {
  absl::StatusOr<grpc::ByteBuffer> request = encode({pick.target, settled});
  if (!request.ok()) return {{request.status(), pick.target}, Breaker::Outcome::kNothing};
  Target::Result result =
      targets_[pick.target]->Call(std::move(pick.permit), method, *request, limits);
  return {{std::move(result.reply.message), pick.target, result.reply.settled}, result.outcome};
}

std::optional<Client::Pick> Client::Choose(std::optional<std::size_t> avoid) const {
  const std::size_t first = avoid ? *avoid + 1 : turn_.fetch_add(1, std::memory_order_relaxed);
  const auto find = [&](const auto& suits) -> std::optional<Pick> {
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const std::size_t target = (first + i) % targets_.size();
      if (!suits(target)) continue;
      if (auto permit = targets_[target]->Admit(Clock::now())) {
        return Pick{target, *std::move(permit)};
      }
    }
    return std::nullopt;
  };
  if (auto pick = find([&](std::size_t i) { return i != avoid && targets_[i]->MayConnect(); })) {
    return pick;
  }
  if (auto pick = find([&](std::size_t i) { return i != avoid; })) return pick;
  return find([&](std::size_t i) { return i == avoid; });
}

absl::Status Client::Refuse() const {
  Count(ModelCall::kRefused);
  return absl::UnavailableError("no model server can take a call now");
}

void Client::Count(ModelCall what) const {
  if (counts_ != nullptr) counts_->Count(what);
}

}  // namespace inferpool::backend
