// The KServe v2 service: a function for each of the protocol's calls, from message to message. Only
// here do our statuses become gRPC's. What this server does not offer is UNIMPLEMENTED, with a
// text.
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

// The number of open streams. Each holds two threads, even while its client is silent. One more
// than these is UNAVAILABLE.
inline constexpr std::size_t kMaxStreams = 512;

// Thread safe. The repository must outlive it. A ModelInfer that waits for an instance ends when
// its deadline passes or its client goes; one that has begun to run is run to its end. The messages
// of all requests in work have at most kMaxBytesInFlight; a request that exceeds that is
// UNAVAILABLE.
class Service {
 public:
  // `id` is the server's name in its metadata. Without `allow_client_shm` the calls that register
  // and unregister shared memory are UNIMPLEMENTED, as in Triton since 2.69, and so there never is
  // a region.
  Service(Repository& repository, std::string id, bool allow_client_shm)
      : repository_(repository), id_(std::move(id)), allow_client_shm_(allow_client_shm) {}

  // True as long as the process answers.
  grpc::Status ServerLive(const inference::ServerLiveRequest& request,
                          inference::ServerLiveResponse& response);
  // True when Repository::Ready() is.
  grpc::Status ServerReady(const inference::ServerReadyRequest& request,
                           inference::ServerReadyResponse& response);
  // False for an unknown model too, as in Triton.
  grpc::Status ModelReady(const inference::ModelReadyRequest& request,
                          inference::ModelReadyResponse& response);
  grpc::Status ServerMetadata(const inference::ServerMetadataRequest& request,
                              inference::ServerMetadataResponse& response);
  // Its list of versions has only the requested version, or all that are ready when none is
  // requested.
  grpc::Status ModelMetadata(const inference::ModelMetadataRequest& request,
                             inference::ModelMetadataResponse& response);
  // The completed configuration, with its defaults (FillDefaults) and class names (class_names.h).
  grpc::Status ModelConfig(const inference::ModelConfigRequest& request,
                           inference::ModelConfigResponse& response);
  grpc::Status ModelInfer(Call& call, const inference::ModelInferRequest& request,
                          inference::ModelInferResponse& response);
  grpc::Status RepositoryIndex(const inference::RepositoryIndexRequest& request,
                               inference::RepositoryIndexResponse& response);
  // Triton's settings, of which this server has one level: debug when log_verbose_level is over 0,
  // otherwise info when log_info is set, otherwise warning when log_warning is. Errors are always
  // logged. The other settings can only be read. INVALID_ARGUMENT when a setting is unknown, has
  // another type, or cannot be changed.
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

  // There never is a region of CUDA shared memory: the list of all is empty, and a named one
  // NOT_FOUND.
  grpc::Status CudaSharedMemoryStatus(const inference::CudaSharedMemoryStatusRequest& request,
                                      inference::CudaSharedMemoryStatusResponse& response);
  // Nothing to do, because there never is such a region: clients call this before they use any kind
  // of shared memory.
  grpc::Status CudaSharedMemoryUnregister(
      const inference::CudaSharedMemoryUnregisterRequest& request,
      inference::CudaSharedMemoryUnregisterResponse& response);

  // Not offered: UNIMPLEMENTED, with a text, because some of Triton's clients take a status without
  // text for success.
  grpc::Status CudaSharedMemoryRegister(const inference::CudaSharedMemoryRegisterRequest& request,
                                        inference::CudaSharedMemoryRegisterResponse& response);
  grpc::Status TraceSetting(const inference::TraceSettingRequest& request,
                            inference::TraceSettingResponse& response);

 private:
  absl::Status Infer(const inference::ModelInferRequest& request, InferContext context,
                     inference::ModelInferResponse& response);

  Repository& repository_;
  const std::string id_;
  const bool allow_client_shm_;
  SharedMemoryTable shared_memory_;
  std::atomic<std::size_t> bytes_in_flight_ = 0;
  std::atomic<std::size_t> streams_ = 0;
};

}  // namespace inferpool::modelserver
