// The KServe v2 service: protobuf in, protobuf out, and the one place where our statuses become
// gRPC's. What it does not do is UNIMPLEMENTED and says so.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstddef>
#include <string>
#include <utility>

#include "modelserver/repository.h"
#include "modelserver/shared_memory.h"
#include "proto/kserve.grpc.pb.h"

namespace inferpool::modelserver {

// Each open stream holds two threads, also when its client says nothing. One more is UNAVAILABLE.
inline constexpr std::size_t kMaxStreams = 512;

// Thread safe. The repository must outlive it. A ModelInfer whose deadline is over or whose caller
// has gone while it waits for an instance is dropped; one that runs already runs to its end. All
// requests' messages together have kMaxBytesInFlight at most; one past that is UNAVAILABLE.
class Service final : public inference::GRPCInferenceService::Service {
 public:
  // `id` is the server's name in its metadata.
  Service(Repository& repository, std::string id) : repository_(repository), id_(std::move(id)) {}

  // True as long as the process answers.
  grpc::Status ServerLive(grpc::ServerContext* context, const inference::ServerLiveRequest* request,
                          inference::ServerLiveResponse* response) override;
  // Repository::Ready.
  grpc::Status ServerReady(grpc::ServerContext* context,
                           const inference::ServerReadyRequest* request,
                           inference::ServerReadyResponse* response) override;
  // False for an unknown model too, as Triton answers.
  grpc::Status ModelReady(grpc::ServerContext* context, const inference::ModelReadyRequest* request,
                          inference::ModelReadyResponse* response) override;
  grpc::Status ServerMetadata(grpc::ServerContext* context,
                              const inference::ServerMetadataRequest* request,
                              inference::ServerMetadataResponse* response) override;
  // Of the versions the one that is asked for, else all that are ready.
  grpc::Status ModelMetadata(grpc::ServerContext* context,
                             const inference::ModelMetadataRequest* request,
                             inference::ModelMetadataResponse* response) override;
  // The completed configuration, with its defaults (FillDefaults) and class names (class_names.h).
  grpc::Status ModelConfig(grpc::ServerContext* context,
                           const inference::ModelConfigRequest* request,
                           inference::ModelConfigResponse* response) override;
  grpc::Status ModelInfer(grpc::ServerContext* context, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override;
  grpc::Status RepositoryIndex(grpc::ServerContext* context,
                               const inference::RepositoryIndexRequest* request,
                               inference::RepositoryIndexResponse* response) override;
  // Triton's settings as far as one level can tell them: log_verbose_level over 0 is debug, else
  // log_info, log_warning, and errors always. Others may be read alone. INVALID_ARGUMENT for what
  // is unknown, of another type, or not to be changed.
  grpc::Status LogSettings(grpc::ServerContext* context,
                           const inference::LogSettingsRequest* request,
                           inference::LogSettingsResponse* response) override;

  grpc::Status ModelStreamInfer(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<inference::ModelStreamInferResponse, inference::ModelInferRequest>*
          stream) override;
  grpc::Status ModelStatistics(grpc::ServerContext* context,
                               const inference::ModelStatisticsRequest* request,
                               inference::ModelStatisticsResponse* response) override;
  grpc::Status RepositoryModelLoad(grpc::ServerContext* context,
                                   const inference::RepositoryModelLoadRequest* request,
                                   inference::RepositoryModelLoadResponse* response) override;
  grpc::Status RepositoryModelUnload(grpc::ServerContext* context,
                                     const inference::RepositoryModelUnloadRequest* request,
                                     inference::RepositoryModelUnloadResponse* response) override;
  grpc::Status SystemSharedMemoryStatus(
      grpc::ServerContext* context, const inference::SystemSharedMemoryStatusRequest* request,
      inference::SystemSharedMemoryStatusResponse* response) override;
  grpc::Status SystemSharedMemoryRegister(
      grpc::ServerContext* context, const inference::SystemSharedMemoryRegisterRequest* request,
      inference::SystemSharedMemoryRegisterResponse* response) override;
  grpc::Status SystemSharedMemoryUnregister(
      grpc::ServerContext* context, const inference::SystemSharedMemoryUnregisterRequest* request,
      inference::SystemSharedMemoryUnregisterResponse* response) override;

  // Not offered: UNIMPLEMENTED, with a text, as some of Triton's clients take a status without one
  // for success.
  grpc::Status CudaSharedMemoryStatus(grpc::ServerContext* context,
                                      const inference::CudaSharedMemoryStatusRequest* request,
                                      inference::CudaSharedMemoryStatusResponse* response) override;
  grpc::Status CudaSharedMemoryRegister(
      grpc::ServerContext* context, const inference::CudaSharedMemoryRegisterRequest* request,
      inference::CudaSharedMemoryRegisterResponse* response) override;
  grpc::Status TraceSetting(grpc::ServerContext* context,
                            const inference::TraceSettingRequest* request,
                            inference::TraceSettingResponse* response) override;
  // OK, as there never is such a region: clients say this before they use shared memory of any
  // kind.
  grpc::Status CudaSharedMemoryUnregister(
      grpc::ServerContext* context, const inference::CudaSharedMemoryUnregisterRequest* request,
      inference::CudaSharedMemoryUnregisterResponse* response) override;

 private:
  absl::Status Infer(const inference::ModelInferRequest& request, Caller caller,
                     inference::ModelInferResponse& response);

  Repository& repository_;
  const std::string id_;
  SharedMemoryTable shared_memory_;
  std::atomic<std::size_t> bytes_in_flight_ = 0;
  std::atomic<std::size_t> streams_ = 0;
};

}  // namespace inferpool::modelserver
