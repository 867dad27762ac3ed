// The KServe v2 service: protobuf in, protobuf out, and the one place where our statuses become
// gRPC's. What it does not do is UNIMPLEMENTED and says so.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstddef>
#include <string>
#include <utility>

#include "modelserver/repository/repository.h"
#include "modelserver/rpc/call.h"
#include "modelserver/rpc/stream.h"
#include "modelserver/service/shared_memory.h"
#include "proto/kserve.pb.h"

namespace inferpool::modelserver {

// Each open stream holds two threads, also when its client says nothing. One more is UNAVAILABLE.
inline constexpr std::size_t kMaxStreams = 512;

// Thread safe. The repository must outlive it. A ModelInfer whose deadline is over or whose caller
// has gone while it waits for an instance is dropped; one that runs already runs to its end. All
// requests' messages together have kMaxBytesInFlight at most; one past that is UNAVAILABLE.
class Service {
 public:
  // `id` is the server's name in its metadata.
  Service(Repository& repository, std::string id) : repository_(repository), id_(std::move(id)) {}

  // True as long as the process answers.
  grpc::Status ServerLive(const inference::ServerLiveRequest& request,
                          inference::ServerLiveResponse& response);
  // Repository::Ready.
  grpc::Status ServerReady(const inference::ServerReadyRequest& request,
                           inference::ServerReadyResponse& response);
  // False for an unknown model too, as Triton answers.
  grpc::Status ModelReady(const inference::ModelReadyRequest& request,
                          inference::ModelReadyResponse& response);
  grpc::Status ServerMetadata(const inference::ServerMetadataRequest& request,
                              inference::ServerMetadataResponse& response);
  // Of the versions the one that is asked for, else all that are ready.
  grpc::Status ModelMetadata(const inference::ModelMetadataRequest& request,
                             inference::ModelMetadataResponse& response);
  // The completed configuration, with its defaults (FillDefaults) and class names (class_names.h).
  grpc::Status ModelConfig(const inference::ModelConfigRequest& request,
                           inference::ModelConfigResponse& response);
  grpc::Status ModelInfer(Call& call, const inference::ModelInferRequest& request,
                          inference::ModelInferResponse& response);
  grpc::Status RepositoryIndex(const inference::RepositoryIndexRequest& request,
                               inference::RepositoryIndexResponse& response);
  // Triton's settings as far as one level can tell them: log_verbose_level over 0 is debug, else
  // log_info, log_warning, and errors always. Others may be read alone. INVALID_ARGUMENT for what
  // is unknown, of another type, or not to be changed.
  grpc::Status LogSettings(const inference::LogSettingsRequest& request,
                           inference::LogSettingsResponse& response);

  grpc::Status ModelStreamInfer(InferStream& stream);
  grpc::Status ModelStatistics(const inference::ModelStatisticsRequest& request,
                               inference::ModelStatisticsResponse& response);
  grpc::Status RepositoryModelLoad(const inference::RepositoryModelLoadRequest& request,
                                   inference::RepositoryModelLoadResponse& response);
  grpc::Status RepositoryModelUnload(const inference::RepositoryModelUnloadRequest& request,
                                     inference::RepositoryModelUnloadResponse& response);
  grpc::Status SystemSharedMemoryStatus(const inference::SystemSharedMemoryStatusRequest& request,
                                        inference::SystemSharedMemoryStatusResponse& response);
  grpc::Status SystemSharedMemoryRegister(
      const inference::SystemSharedMemoryRegisterRequest& request,
      inference::SystemSharedMemoryRegisterResponse& response);
  grpc::Status SystemSharedMemoryUnregister(
      const inference::SystemSharedMemoryUnregisterRequest& request,
      inference::SystemSharedMemoryUnregisterResponse& response);

  // Not offered: UNIMPLEMENTED, with a text, as some of Triton's clients take a status without one
  // for success.
  grpc::Status CudaSharedMemoryStatus(const inference::CudaSharedMemoryStatusRequest& request,
                                      inference::CudaSharedMemoryStatusResponse& response);
  grpc::Status CudaSharedMemoryRegister(const inference::CudaSharedMemoryRegisterRequest& request,
                                        inference::CudaSharedMemoryRegisterResponse& response);
  grpc::Status TraceSetting(const inference::TraceSettingRequest& request,
                            inference::TraceSettingResponse& response);
  // OK, as there never is such a region: clients say this before they use shared memory of any
  // kind.
  grpc::Status CudaSharedMemoryUnregister(
      const inference::CudaSharedMemoryUnregisterRequest& request,
      inference::CudaSharedMemoryUnregisterResponse& response);

 private:
  absl::Status Infer(const inference::ModelInferRequest& request, InferContext context,
                     inference::ModelInferResponse& response);

  Repository& repository_;
  const std::string id_;
  SharedMemoryTable shared_memory_;
  std::atomic<std::size_t> bytes_in_flight_ = 0;
  std::atomic<std::size_t> streams_ = 0;
};

}  // namespace inferpool::modelserver
