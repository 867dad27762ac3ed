#include "worker/backend/rpc/client.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <utility>

#include "proto/model_config.pb.h"
#include "worker/backend/rpc/readiness_checks.h"

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
                                                 WakeEvent& wake) {
  std::vector<std::unique_ptr<Target>> targets;
  targets.reserve(names.size());
  for (const std::string& name : names) {
    targets.push_back(std::make_unique<Target>(name, message_mb, options, wake));
  }
  return targets;
}

}  // namespace

Client::Client(const std::vector<std::string>& targets, int message_mb,
               const ClientOptions& options)
    : context_(options.counts),
      targets_(MakeTargets(targets, message_mb, options, bell_)),
      health_checker_(targets_, bell_) {}

absl::Status Client::ServerReady(Deadline deadline) const {
  RETURN_IF_ERROR(CheckNotOver(deadline));
  std::vector<ReadinessChecks::Stub*> stubs;
  for (const auto& target : targets_) stubs.push_back(&target->stub());
  ReadinessChecks checks(stubs);
  for (std::size_t i = 0; i < stubs.size(); ++i) checks.Ask(i, deadline);
  const Deadline end(deadline.at() + kGrace);
  absl::Status first_error;
  while (checks.AnyOut()) {
    const auto answer = checks.Next(end);
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

absl::StatusOr<grpc::ByteBuffer> Client::Infer(const grpc::ByteBuffer& request,
                                               const CallLimits& limits) const {
  return Call(kInfer, request, limits);
}

absl::Status Client::CheckAdmits() const {
  const TimePoint now = Clock::now();
  const auto open = [now](const auto& target) {
    return target->breaker().state(now) == Breaker::State::kOpen;
  };
  if (!std::ranges::all_of(targets_, open)) return absl::OkStatus();
  context_.Count(ModelCall::kMade);
  return Refuse(context_);
}

TargetState Client::State(std::size_t target) const {
  Target& of = *targets_[target];
  return {of.name(), of.MayConnect(), of.breaker().state(Clock::now()), of.openings()};
}

template <typename Response>
absl::StatusOr<Response> Client::Ask(std::string_view method,
                                     const google::protobuf::Message& request,
                                     const CallLimits& limits) const {
  const absl::StatusOr<grpc::ByteBuffer> bytes = ToBytes(request);
  RETURN_IF_ERROR(bytes.status());
  absl::StatusOr<grpc::ByteBuffer> answer = Call(method, *bytes, limits);
  RETURN_IF_ERROR(answer.status());
  Response response;
  if (!grpc::GenericDeserialize<grpc::ProtoBufferReader, Response>(&*answer, &response).ok()) {
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

absl::StatusOr<grpc::ByteBuffer> Client::Call(std::string_view method,
                                              const grpc::ByteBuffer& request,
                                              const CallLimits& limits) const {
  Attempts attempts = NewAttempts(limits.deadline);
  while (std::optional<Attempt> attempt = attempts.Next(Candidates(), Clock::now())) {
    Answer answer = Send(*std::move(attempt), method, request, limits);
    attempts.Record(answer.message.status(), answer.outcome);
    if (answer.message.ok()) return std::move(answer.message);
  }
  return attempts.status();
}

std::vector<Candidate> Client::Candidates() const {
  std::vector<Candidate> candidates;
  candidates.reserve(targets_.size());
  for (const auto& target : targets_) {
    candidates.push_back({&target->breaker(), target->MayConnect()});
  }
  return candidates;
}

Answer Client::Send(Attempt attempt, std::string_view method, const grpc::ByteBuffer& request,
                    const CallLimits& limits) const {
  return targets_[attempt.target]->Call(std::move(attempt.permit), method, request, limits);
}

}  // namespace inferpool::backend
