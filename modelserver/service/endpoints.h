// Connects each method that clients can call with the function that answers it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <vector>

#include "modelserver/rpc/call.h"
#include "modelserver/rpc/health.h"
#include "modelserver/service/service.h"
#include "proto/health.grpc.pb.h"
#include "proto/kserve.grpc.pb.h"

namespace inferpool::modelserver {

class Endpoints {
 public:
  // `service` and `health` must outlive this.
  Endpoints(Service& service, HealthService& health) : service_(service), health_(health) {}

  // Adds the methods to a server that is about to be built.
  void Register(grpc::ServerBuilder& builder);

  // Begins to serve calls on the threads of `limit`, which must be gone before this object is. To
  // be called once, after the server has been started.
  void Open(CallLimit& limit);

 private:
  // The generated services. Each of their methods takes and returns messages as bytes (call.h).
  using Wire = inference::GRPCInferenceService;
  using Inference = Wire::WithRawMethod_ModelInfer<
      Wire::WithRawMethod_ModelStreamInfer<Wire::WithRawMethod_ServerLive<
          Wire::WithRawMethod_ServerReady<Wire::WithRawMethod_ModelReady<Wire::Service>>>>>;
  using Descriptions = Wire::WithRawMethod_ServerMetadata<Wire::WithRawMethod_ModelMetadata<
      Wire::WithRawMethod_ModelConfig<Wire::WithRawMethod_ModelStatistics<Inference>>>>;
  using Repositories = Wire::WithRawMethod_RepositoryIndex<
      Wire::WithRawMethod_RepositoryModelLoad<Wire::WithRawMethod_RepositoryModelUnload<
          Wire::WithRawMethod_TraceSetting<Wire::WithRawMethod_LogSettings<Descriptions>>>>>;
  using SharedMemory =
      Wire::WithRawMethod_SystemSharedMemoryStatus<Wire::WithRawMethod_SystemSharedMemoryRegister<
          Wire::WithRawMethod_SystemSharedMemoryUnregister<Repositories>>>;
  using KServe =
      Wire::WithRawMethod_CudaSharedMemoryStatus<Wire::WithRawMethod_CudaSharedMemoryRegister<
          Wire::WithRawMethod_CudaSharedMemoryUnregister<SharedMemory>>>;
  using Health = grpc::health::v1::Health::WithRawMethod_Check<
      grpc::health::v1::Health::WithRawMethod_Watch<grpc::health::v1::Health::Service>>;

  Service& service_;
  HealthService& health_;
  KServe kserve_;
  Health grpc_health_;
  std::vector<std::shared_ptr<const void>> methods_;
};

}  // namespace inferpool::modelserver
