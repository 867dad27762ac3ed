// The worker's way to the model servers: KServe v2 calls, each on a server that is likely to
// answer, and on another one when it does not.
//
// Make it after the fork and before threads (it sets an environment variable for gRPC, and starts
// a thread). Thread safe: all threads of the worker share it. Every call carries a deadline; to
// which server it goes, and when it is made again, is attempts.h's to decide. Errors keep the code
// that the server or gRPC gave: UNAVAILABLE when the server is away, DEADLINE_EXCEEDED when it is
// too slow, NOT_FOUND for an unknown model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "proto/model_description.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/attempts.h"
#include "worker/backend/rpc/breaker.h"
#include "worker/backend/rpc/health_checker.h"
#include "worker/backend/rpc/target.h"
#include "worker/backend/rpc/unary_call.h"
#include "worker/backend/rpc/wake_event.h"

namespace inferpool::backend {

struct TargetState {
  std::string name;
  bool may_connect;  // false: gRPC has tried to connect and could not
  Breaker::State breaker;
  std::uint64_t openings;  // of the breaker
};

class Client {
 public:
  // `targets`: gRPC target names, at least one. `message_mb` bounds messages in both directions.
  Client(const std::vector<std::string>& targets, int message_mb,
         const ClientOptions& options = {});

  // OK as soon as one of the servers can be sent requests (readiness_checks.h).
  absl::Status ServerReady(Deadline deadline) const;

  // Names of the models that are ready, sorted, each once.
  absl::StatusOr<std::vector<std::string>> ReadyModels(Deadline deadline) const;

  absl::StatusOr<ModelDescription> Describe(const std::string& model, Deadline deadline) const;

  // One call each, as the protocol has it. An empty version: the server chooses; an empty model, of
  // ModelStatistics: all.
  absl::StatusOr<inference::ServerMetadataResponse> ServerMetadata(const CallLimits& limits) const;
  absl::StatusOr<inference::ModelReadyResponse> ModelReady(const std::string& model,
                                                           const std::string& version,
                                                           const CallLimits& limits) const;
  absl::StatusOr<inference::ModelMetadataResponse> ModelMetadata(const std::string& model,
                                                                 const std::string& version,
                                                                 const CallLimits& limits) const;
  absl::StatusOr<inference::ModelConfigResponse> ModelConfig(const std::string& model,
                                                             const std::string& version,
                                                             const CallLimits& limits) const;
  absl::StatusOr<inference::ModelStatisticsResponse> ModelStatistics(
      const std::string& model, const std::string& version, const CallLimits& limits) const;
  absl::StatusOr<inference::RepositoryIndexResponse> RepositoryIndex(
      bool only_ready, const CallLimits& limits) const;

  // Returns at the deadline at the latest, even when the server has stopped reading, and soon after
  // the client has left.
  absl::StatusOr<inference::ModelInferResponse> Infer(const inference::ModelInferRequest& request,
                                                      const CallLimits& limits) const;

  // The same for a request and an answer in bytes, of which each server is sent the same. The
  // slices are sent from where they lie, possibly after the call's end, so they must own their
  // memory.
  absl::StatusOr<grpc::ByteBuffer> Infer(const grpc::ByteBuffer& request,
                                         const CallLimits& limits) const;

  // The parts of a call whose request differs from server to server, for InferenceClient::Call: its
  // attempts, what they choose from, and the sending of one. The client must outlive them.
  Attempts NewAttempts(Deadline deadline) const { return {context_, deadline}; }
  std::vector<Candidate> Candidates() const;
  Answer Send(Attempt attempt, std::string_view method, const grpc::ByteBuffer& request,
              const CallLimits& limits) const;

  // Whether it is worth preparing a call: UNAVAILABLE, counted as a call that was refused, while
  // the breakers of all targets are open.
  absl::Status CheckAdmits() const;

  // By the index that an Attempt has.
  std::size_t targets() const { return targets_.size(); }
  TargetState State(std::size_t target) const;

  // For calls to one server about what it alone has, such as shared memory or its readiness. They
  // pass by its breaker.
  UnaryCalls& calls(std::size_t target) const { return targets_[target]->calls(); }
  inference::GRPCInferenceService::StubInterface& stub(std::size_t target) const {
    return targets_[target]->stub();
  }

 private:
  absl::StatusOr<grpc::ByteBuffer> Call(std::string_view method, const grpc::ByteBuffer& request,
                                        const CallLimits& limits) const;

  template <typename Response>
  absl::StatusOr<Response> Ask(std::string_view method, const google::protobuf::Message& request,
                               const CallLimits& limits) const;

  template <typename Request, typename Response>
  absl::StatusOr<Response> AskOfModel(std::string_view method, const std::string& model,
                                      const std::string& version, const CallLimits& limits) const;

  mutable SharedByCalls context_;
  mutable WakeEvent bell_;
  std::vector<std::unique_ptr<Target>> targets_;
  HealthChecker health_checker_;  // last: ends before what it looks at
};

}  // namespace inferpool::backend
