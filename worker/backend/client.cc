#include "worker/backend/client.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <set>
#include <string_view>

#include "proto/model_config.pb.h"
#include "worker/backend/grpc_status.h"

namespace inferpool::backend {
namespace {

// "ipv4:a:1" and "ipv4:b:1" make the one target "ipv4:a:1,b:1".
std::string Join(const std::vector<std::string>& targets) {
  std::string joined = targets.front();
  for (std::size_t i = 1; i < targets.size(); ++i) {
    joined += "," + targets[i].substr(targets[i].find(':') + 1);
  }
  return joined;
}

std::shared_ptr<grpc::Channel> Connect(const std::vector<std::string>& targets, int message_mb) {
  // While a server is away calls fail at once, so no caller is there to move a new connection
  // along; gRPC then looks at it only this often (read once, when gRPC starts). The default is 5 s.
  setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "50", /*overwrite=*/0);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(message_mb * 1024 * 1024);
  arguments.SetMaxSendMessageSize(message_mb * 1024 * 1024);
  arguments.SetLoadBalancingPolicyName("round_robin");
  // A restarted server shall be found within a second; gRPC's own defaults go up to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 250);
  // In spite of its name this is how long an attempt to connect may take: long enough for a server
  // that is busy, short enough to try a hung one again.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  // Retries would hide how long the server has been away, and skip large requests anyway.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // An idle channel would connect anew on the next request; the default is 30 minutes.
  arguments.SetInt(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX);
  // Model servers are reached directly, never through a web proxy of the environment.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(Join(targets), grpc::InsecureChannelCredentials(), arguments);
}

// gRPC may answer a call whose deadline was over before it began.
absl::Status CheckNotOver(Deadline deadline) {
  return deadline.Expired(Clock::now()) ? absl::DeadlineExceededError("no time was left")
                                        : absl::OkStatus();
}

vision::TensorSpec ToSpec(const inference::ModelMetadataResponse::TensorMetadata& tensor) {
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

}  // namespace

Client::Client(const std::vector<std::string>& targets, int message_mb)
    : stub_(inference::GRPCInferenceService::NewStub(Connect(targets, message_mb))),
      infer_calls_(std::make_unique<InferCalls>(*stub_)) {}

absl::Status Client::ServerReady(Deadline deadline) const {
  RETURN_IF_ERROR(CheckNotOver(deadline));
  grpc::ClientContext context;
  context.set_deadline(WallTime(deadline));
  inference::ServerReadyResponse response;
  const grpc::Status status = stub_->ServerReady(&context, {}, &response);
  if (!status.ok()) return ToStatus(status, "ServerReady");
  if (!response.ready()) return absl::UnavailableError("the model server says it is not ready");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Client::ReadyModels(Deadline deadline) const {
  RETURN_IF_ERROR(CheckNotOver(deadline));
  grpc::ClientContext context;
  context.set_deadline(WallTime(deadline));
  inference::RepositoryIndexRequest request;
  request.set_ready(true);
  inference::RepositoryIndexResponse response;
  RETURN_IF_ERROR(
      ToStatus(stub_->RepositoryIndex(&context, request, &response), "RepositoryIndex"));
  std::set<std::string> names;  // a model is listed once a version
  for (const auto& model : response.models()) names.insert(model.name());
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<vision::ModelDescription> Client::Describe(const std::string& model,
                                                          Deadline deadline) const {
  RETURN_IF_ERROR(CheckNotOver(deadline));
  inference::ModelMetadataResponse metadata;
  {
    grpc::ClientContext context;
    context.set_deadline(WallTime(deadline));
    inference::ModelMetadataRequest request;
    request.set_name(model);
    RETURN_IF_ERROR(ToStatus(stub_->ModelMetadata(&context, request, &metadata), "ModelMetadata"));
  }
  inference::ModelConfigResponse answer;
  {
    grpc::ClientContext context;
    context.set_deadline(WallTime(deadline));
    inference::ModelConfigRequest request;
    request.set_name(model);
    RETURN_IF_ERROR(ToStatus(stub_->ModelConfig(&context, request, &answer), "ModelConfig"));
  }
  const inference::ModelConfig& config = answer.config();
  vision::ModelDescription description;
  description.name = metadata.name();
  if (metadata.versions_size() > 0) {
    description.version = metadata.versions(metadata.versions_size() - 1);
  }
  description.max_batch_size = config.max_batch_size();
  std::ranges::transform(metadata.inputs(), std::back_inserter(description.inputs), ToSpec);
  std::ranges::transform(metadata.outputs(), std::back_inserter(description.outputs), ToSpec);
  for (const auto& [key, value] : config.parameters()) {
    if (key == kClassNames) {
      description.class_names = Lines(value.string_value());
    } else {
      description.parameters[key] = value.string_value();
    }
  }
  return description;
}

absl::StatusOr<inference::ModelInferResponse> Client::Infer(
    const inference::ModelInferRequest& request, const CallLimits& limits) const {
  RETURN_IF_ERROR(CheckNotOver(limits.deadline));
  return infer_calls_->Infer(request, limits);
}

}  // namespace inferpool::backend
