#include "modelserver/service/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "modelserver/config/request_check.h"
#include "modelserver/rpc/stream.h"
#include "modelserver/service/inference.h"
#include "proto/tensor.h"
#include "shared/base/log.h"
#include "shared/base/status.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), Utf8Text(Message(status), kMaxStatusText)};
}

grpc::Status Unimplemented(const std::string& what) {
  return {grpc::StatusCode::UNIMPLEMENTED, "this server does not offer " + what};
}

// In Triton's words, which clients may look for.
grpc::Status ClientShmDisabled() {
  return {grpc::StatusCode::UNIMPLEMENTED,
          "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to "
          "enable."};
}

// Adds `amount` to a count of what is in use, for as long as this lives.
class InFlightCount {
 public:
  InFlightCount(std::atomic<std::size_t>& in_use, std::size_t amount)
      : in_use_(in_use), amount_(amount), total_(in_use.fetch_add(amount) + amount) {}
  ~InFlightCount() { in_use_.fetch_sub(amount_); }
  InFlightCount(const InFlightCount&) = delete;
  InFlightCount& operator=(const InFlightCount&) = delete;

  bool Within(std::size_t max) const { return total_ <= max; }

 private:
  std::atomic<std::size_t>& in_use_;
  const std::size_t amount_;
  const std::size_t total_;
};

InferContext ContextOf(Call& call) {
  // gRPC gives a call without a deadline one that is so far in the future that a conversion to our
  // clock would overflow. A day has the same effect.
  const std::chrono::system_clock::time_point deadline = call.context().deadline();
  const auto left = std::min<std::chrono::system_clock::duration>(
      deadline - std::min(deadline, std::chrono::system_clock::now()), std::chrono::hours(24));
  return {Deadline::After(std::chrono::duration_cast<Clock::duration>(left)), call.gone()};
}

template <typename Tensors>
void AddMetadata(
    const inference::ModelConfig& config, const Tensors& tensors,
    google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>&
        metadata) {
  for (const auto& tensor : tensors) {
    auto& described = *metadata.Add();
    described.set_name(tensor.name());
    described.set_datatype(std::string(DatatypeName(tensor.data_type())));
    const std::vector<std::int64_t> shape = WireShape(config, tensor.dims());
    described.mutable_shape()->Add(shape.begin(), shape.end());
  }
}

absl::StatusOr<LoadParameters> ReadLoadParameters(
    const inference::RepositoryModelLoadRequest& request) {
  constexpr std::string_view kFile = "file:";
  LoadParameters parameters;
  for (const auto& [key, value] : request.parameters()) {
    if (key == "config" && value.has_string_param()) {
      parameters.config = value.string_param();
    } else if (key.starts_with(kFile) && value.has_bytes_param()) {
      parameters.files[key.substr(kFile.size())] = value.bytes_param();
    } else {
      return InvalidArgument(
          "load parameter '{}' is neither `config`, a text, nor `file:...`, bytes", key);
    }
  }
  return parameters;
}

}  // namespace

grpc::Status Service::ServerLive(const inference::ServerLiveRequest& /*request*/,
                                 inference::ServerLiveResponse& response) {
  response.set_live(true);
  return grpc::Status::OK;
}

grpc::Status Service::ServerReady(const inference::ServerReadyRequest& /*request*/,
                                  inference::ServerReadyResponse& response) {
  response.set_ready(repository_.Ready());
  return grpc::Status::OK;
}

grpc::Status Service::ModelReady(const inference::ModelReadyRequest& request,
                                 inference::ModelReadyResponse& response) {
  const absl::StatusOr<std::shared_ptr<Model>> model =
      repository_.Find(request.name(), request.version());
  if (absl::IsInvalidArgument(model.status())) {
    return ToGrpc(model.status());
  }
  response.set_ready(model.ok());
  return grpc::Status::OK;
}

grpc::Status Service::ServerMetadata(const inference::ServerMetadataRequest& /*request*/,
                                     inference::ServerMetadataResponse& response) {
  response.set_name(id_);
  response.set_version(INFERPOOL_VERSION);
  // Those of Triton's extensions that this server has.
  for (const char* extension :
       {"classification", "model_repository", "model_repository(unload_dependents)",
        "schedule_policy", "model_configuration", "system_shared_memory", "parameters",
        "statistics", "logging"}) {
    response.add_extensions(extension);
  }
  return grpc::Status::OK;
}

grpc::Status Service::ModelMetadata(const inference::ModelMetadataRequest& request,
                                    inference::ModelMetadataResponse& response) {
  const absl::StatusOr<std::shared_ptr<Model>> model =
      repository_.Find(request.name(), request.version());
  if (!model.ok()) {
    return ToGrpc(model.status());
  }
  const inference::ModelConfig& config = (*model)->config();
  response.set_name(config.name());
  if (!request.version().empty()) {
    response.add_versions(std::to_string((*model)->version()));
  } else {
    for (const std::int64_t version : repository_.ReadyVersions(config.name())) {
      response.add_versions(std::to_string(version));
    }
  }
  response.set_platform(config.platform().empty() ? config.backend() : config.platform());
  AddMetadata(config, config.input(), *response.mutable_inputs());
  AddMetadata(config, config.output(), *response.mutable_outputs());
  return grpc::Status::OK;
}

grpc::Status Service::ModelConfig(const inference::ModelConfigRequest& request,
                                  inference::ModelConfigResponse& response) {
  const absl::StatusOr<std::shared_ptr<Model>> model =
      repository_.Find(request.name(), request.version());
  if (!model.ok()) {
    return ToGrpc(model.status());
  }
  *response.mutable_config() = (*model)->config();
  return grpc::Status::OK;
}

grpc::Status Service::ModelInfer(Call& call, const inference::ModelInferRequest& request,
                                 inference::ModelInferResponse& response) {
  InferContext context = ContextOf(call);
  context.can_block = [&call] { return call.YieldQueue(); };
  const absl::Status status = Infer(request, std::move(context), response);
  if (!status.ok()) {
    call.context().AddTrailingMetadata(kAnsweredMark, "1");
  }
  return ToGrpc(status);
}

absl::Status Service::Infer(const inference::ModelInferRequest& request, InferContext context,
                            inference::ModelInferResponse& response) {
  // Anywhere below, memory for a large request can run out. Then this request fails, but not the
  // process.
  try {
    context.bytes = request.ByteSizeLong();
    const InFlightCount count(bytes_in_flight_, context.bytes);
    if (!count.Within(kMaxBytesInFlight)) {
      return absl::UnavailableError("too many bytes of requests are in flight");
    }
    absl::Status status =
        modelserver::Infer(repository_, shared_memory_, request, std::move(context), response);
    if (absl::IsInternal(status)) {
      log::Error("inference failed",
                 {{"model", request.model_name()}, {"reason", Message(status)}});
    }
    return status;
  } catch (const std::exception& error) {
    log::Error("inference failed", {{"model", request.model_name()}, {"reason", error.what()}});
    return absl::InternalError(error.what());
  }
}

grpc::Status Service::ModelStreamInfer(InferStream& stream) {
  const InFlightCount count(streams_, 1);
  if (!count.Within(kMaxStreams)) {
    return {grpc::StatusCode::UNAVAILABLE, "too many streams are open"};
  }
  // An error is sent as an answer, and the stream goes on.
  return ServeStream(stream, [&](const inference::ModelInferRequest& request) {
    inference::ModelStreamInferResponse answer;
    inference::ModelInferResponse& response = *answer.mutable_infer_response();
    const absl::Status status = Infer(request, ContextOf(stream), response);
    if (!status.ok()) {
      response.Clear();
      response.set_id(request.id());
      response.set_model_name(request.model_name());
      response.set_model_version(request.model_version());
      answer.set_error_message(Utf8Text(Message(status), kMaxStatusText));
    }
    // Each request has one answer: no model is decoupled.
    (*response.mutable_parameters())["triton_final_response"].set_bool_param(true);
    return answer;
  });
}

grpc::Status Service::RepositoryIndex(const inference::RepositoryIndexRequest& request,
                                      inference::RepositoryIndexResponse& response) {
  if (!request.repository_name().empty()) {
    return Unimplemented("named repositories; leave repository_name empty");
  }
  for (const IndexEntry& entry : repository_.Index()) {
    if (request.ready() && entry.state != ModelState::kReady) {
      continue;
    }
    auto& model = *response.add_models();
    model.set_name(entry.name);
    model.set_version(entry.version);
    model.set_state(std::string(ModelStateName(entry.state)));
    model.set_reason(Utf8Text(entry.reason, kMaxStatusText));
  }
  return grpc::Status::OK;
}

grpc::Status Service::ModelStatistics(const inference::ModelStatisticsRequest& request,
                                      inference::ModelStatisticsResponse& response) {
  if (!request.name().empty()) {
    const absl::StatusOr<std::shared_ptr<Model>> model =
        repository_.Find(request.name(), request.version());
    if (!model.ok()) {
      return ToGrpc(model.status());
    }
  }
  for (const std::shared_ptr<Model>& model : repository_.ReadyModels()) {
    const std::string version = std::to_string(model->version());
    if ((request.name().empty() || request.name() == model->config().name()) &&
        (request.version().empty() || request.version() == version)) {
      inference::ModelStatistics& statistics = *response.add_model_stats();
      statistics = ToProto(model->statistics());
      statistics.set_name(model->config().name());
      statistics.set_version(version);
    }
  }
  return grpc::Status::OK;
}

grpc::Status Service::RepositoryModelLoad(const inference::RepositoryModelLoadRequest& request,
                                          inference::RepositoryModelLoadResponse& /*response*/) {
  if (!request.repository_name().empty()) {
    return Unimplemented("named repositories; leave repository_name empty");
  }
  const absl::StatusOr<LoadParameters> parameters = ReadLoadParameters(request);
  return ToGrpc(parameters.ok() ? repository_.Load(request.model_name(), *parameters)
                                : parameters.status());
}

grpc::Status Service::RepositoryModelUnload(
    const inference::RepositoryModelUnloadRequest& request,
    inference::RepositoryModelUnloadResponse& /*response*/) {
  if (!request.repository_name().empty()) {
    return Unimplemented("named repositories; leave repository_name empty");
  }
  const auto dependents = request.parameters().find("unload_dependents");
  return ToGrpc(repository_.Unload(request.model_name(), dependents != request.parameters().end() &&
                                                             dependents->second.bool_param()));
}

grpc::Status Service::SystemSharedMemoryStatus(
    const inference::SystemSharedMemoryStatusRequest& request,
    inference::SystemSharedMemoryStatusResponse& response) {
  const auto regions = shared_memory_.Status(request.name());
  if (!regions.ok()) {
    return ToGrpc(regions.status());
  }
  for (const SharedMemoryDescription& region : *regions) {
    auto& status = (*response.mutable_regions())[region.name];
    status.set_name(region.name);
    status.set_key(region.key);
    status.set_offset(region.offset);
    status.set_byte_size(region.byte_size);
  }
  return grpc::Status::OK;
}

grpc::Status Service::SystemSharedMemoryRegister(
    const inference::SystemSharedMemoryRegisterRequest& request,
    inference::SystemSharedMemoryRegisterResponse& /*response*/) {
  if (!allow_client_shm_) {
    return ClientShmDisabled();
  }
  return ToGrpc(shared_memory_.Register({.name = request.name(),
                                         .key = request.key(),
                                         .offset = request.offset(),
                                         .byte_size = request.byte_size()}));
}

grpc::Status Service::SystemSharedMemoryUnregister(
    const inference::SystemSharedMemoryUnregisterRequest& request,
    inference::SystemSharedMemoryUnregisterResponse& /*response*/) {
  if (!allow_client_shm_) {
    return ClientShmDisabled();
  }
  shared_memory_.Unregister(request.name());
  return grpc::Status::OK;
}

grpc::Status Service::CudaSharedMemoryStatus(
    const inference::CudaSharedMemoryStatusRequest& request,
    inference::CudaSharedMemoryStatusResponse& /*response*/) {
  if (!request.name().empty()) {
    return ToGrpc(absl::NotFoundError(
        fmt::format("Unable to find cuda shared memory region: '{}'", request.name())));
  }
  return grpc::Status::OK;
}

grpc::Status Service::CudaSharedMemoryRegister(
    const inference::CudaSharedMemoryRegisterRequest& /*request*/,
    inference::CudaSharedMemoryRegisterResponse& /*response*/) {
  return allow_client_shm_ ? Unimplemented("CUDA shared memory") : ClientShmDisabled();
}

grpc::Status Service::CudaSharedMemoryUnregister(
    const inference::CudaSharedMemoryUnregisterRequest& /*request*/,
    inference::CudaSharedMemoryUnregisterResponse& /*response*/) {
  return allow_client_shm_ ? grpc::Status::OK : ClientShmDisabled();
}

grpc::Status Service::TraceSetting(const inference::TraceSettingRequest& /*request*/,
                                   inference::TraceSettingResponse& /*response*/) {
  return Unimplemented("tracing");
}

grpc::Status Service::LogSettings(const inference::LogSettingsRequest& request,
                                  inference::LogSettingsResponse& response) {
  bool verbose = log::Enabled(log::Level::kDebug);
  bool info = log::Enabled(log::Level::kInfo);
  bool warning = log::Enabled(log::Level::kWarning);
  for (const auto& [key, value] : request.settings()) {
    if (key == "log_verbose_level" && value.has_uint32_param()) {
      verbose = value.uint32_param() > 0;
    } else if (key == "log_info" && value.has_bool_param()) {
      info = value.bool_param();
    } else if (key == "log_warning" && value.has_bool_param()) {
      warning = value.bool_param();
    } else if (key != "log_error" || !value.bool_param()) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              "log setting '" + Utf8Text(key, kMaxStatusText) + "' cannot be changed to that"};
    }
  }
  log::SetLevel(verbose   ? log::Level::kDebug
                : info    ? log::Level::kInfo
                : warning ? log::Level::kWarning
                          : log::Level::kError);
  auto& settings = *response.mutable_settings();
  settings["log_verbose_level"].set_uint32_param(verbose ? 1 : 0);
  settings["log_info"].set_bool_param(log::Enabled(log::Level::kInfo));
  settings["log_warning"].set_bool_param(log::Enabled(log::Level::kWarning));
  settings["log_error"].set_bool_param(true);
  settings["log_file"].set_string_param("");
  settings["log_format"].set_string_param("default");
  return grpc::Status::OK;
}

}  // namespace inferpool::modelserver
