// The worker's way to the model servers: KServe v2 calls, each on a server that is likely to
// answer, and on another one when it does not.
//
// Make it after the fork and before threads (it sets an environment variable for gRPC, and starts
// a thread). Thread safe: all threads of the worker share it. Every call carries a deadline; to
// which server it goes, and when it is made again, is attempts.h's to decide. Errors keep the code
// that the server or gRPC gave: UNAVAILABLE when the server is away, DEADLINE_EXCEEDED when it is
// too slow, NOT_FOUND for an unknown model.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "proto/model_description.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/attempts.h"
#include "worker/backend/rpc/breaker.h"
#include "worker/backend/rpc/health_checker.h"
#include "worker/backend/rpc/model_directory.h"
#include "worker/backend/rpc/model_watch.h"
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

  // ---- Models and their servers

  // Names of the models that are ready somewhere, and those that the operator named; sorted, each
  // once. Asks the servers, all at once and for 2 s at most, and goes by what is known of those
  // that say nothing. UNAVAILABLE when no server can be reached.
  absl::StatusOr<std::vector<std::string>> Models(Deadline deadline) const;

  // The server whose turn it is, by a number that grows, of those that a call about the model may
  // go to, but `avoid` only when there is no other one.
  std::size_t Pick(const ModelVersion& model, std::size_t turn,
                   std::optional<std::size_t> avoid = {}) const;

  // Whether another server than `server` has the model, of which that one has just said that it is
  // not there, or (`away`) that it is unavailable. Asks them, unless they were asked within the
  // last tenth of a second; a model that was there until now is looked for anew each time. Waits
  // only for those that are likely to answer soon: a second at most for a model that was there
  // until now, a quarter of one for others.
  bool IsElsewhere(std::size_t server, const ModelVersion& model, bool away,
                   Deadline deadline) const;

  // Waits until each server has said which models it has, is away, or until the deadline.
  void AwaitModels(Deadline deadline) const;

  const ModelDirectory& directory() const { return directory_; }

  // Whether one more call may be made instead of one that failed (retry_budget.h).
  bool MayRepeat() const { return context_.budget.Take(); }

  // What a server says of a model: its metadata, and its configuration where the server has that
  // call. UNIMPLEMENTED: it does not describe models at all.
  absl::StatusOr<ModelDescription> Describe(const ModelVersion& model, std::size_t server,
                                            Deadline deadline) const;
  absl::StatusOr<ModelDescription> Describe(const std::string& name, std::size_t server,
                                            Deadline deadline) const {
    return Describe(ModelVersion{name}, server, deadline);
  }

  // ---- Calls as the protocol has them

  absl::StatusOr<inference::ServerMetadataResponse> ServerMetadata(const CallLimits& limits) const;

  // The statistics of all models, of all servers that can be reached.
  absl::StatusOr<inference::ModelStatisticsResponse> AllStatistics(const CallLimits& limits) const;

  // The index of all servers that can be reached, by name, version and state, each once. For a
  // server without an index stands what is known of it.
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
  // `eligible`: the servers that it may go to; empty: all.
  Attempts NewAttempts(Deadline deadline) const { return {context_, deadline}; }
  std::vector<Candidate> Candidates(std::span<const std::size_t> eligible = {}) const;
  Answer Send(Attempt attempt, std::string_view method, const grpc::ByteBuffer& request,
              const CallLimits& limits) const;

  // Whether it is worth preparing a call: UNAVAILABLE, counted as a call that was refused, while
  // the breakers of all these servers are open; empty: all there are.
  absl::Status CheckAdmits(std::span<const std::size_t> servers = {}) const;

  // Whether a call about the model would be refused: the breakers of all servers that it may go to
  // are open. Counts nothing.
  bool IsAway(const ModelVersion& model) const;

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
  friend class ModelCalls;

  bool IsOpen(std::size_t server) const;  // its breaker

  absl::StatusOr<grpc::ByteBuffer> Call(std::string_view method, const grpc::ByteBuffer& request,
                                        std::span<const std::size_t> eligible,
                                        const CallLimits& limits) const;

  template <typename Response>
  absl::StatusOr<Response> Ask(std::string_view method, const google::protobuf::Message& request,
                               std::span<const std::size_t> eligible,
                               const CallLimits& limits) const;

  // The same of each server alone, for a share of the time. The answers; when there is none, the
  // first error that is not UNAVAILABLE, or that.
  template <typename Response>
  absl::StatusOr<std::vector<absl::StatusOr<Response>>> AskEach(
      std::string_view method, const google::protobuf::Message& request,
      const CallLimits& limits) const;

  mutable SharedByCalls context_;
  mutable WakeEvent bell_;
  std::vector<std::unique_ptr<Target>> targets_;
  mutable ModelDirectory directory_;
  HealthChecker health_checker_;  // it and what follows end before what they look at
  mutable ModelWatch model_watch_;
};

// What one request asks about one model: all of the same server, the first that answered. When that
// turns out not to have the model (any more), it is looked for elsewhere, once. For one thread; the
// client must outlive it.
class ModelCalls {
 public:
  // An empty version: the server chooses.
  ModelCalls(const Client& client, std::string model, std::string version = "")
      : client_(client), model_{std::move(model), std::move(version)} {}

  // From now on only of these servers, unless it is of one already.
  void Keep(std::vector<std::size_t> servers) {
    if (servers_.empty()) servers_ = std::move(servers);
  }

  absl::StatusOr<inference::ModelReadyResponse> Ready(const CallLimits& limits);
  absl::StatusOr<inference::ModelMetadataResponse> Metadata(const CallLimits& limits);
  absl::StatusOr<inference::ModelConfigResponse> Config(const CallLimits& limits);
  absl::StatusOr<inference::ModelStatisticsResponse> Statistics(const CallLimits& limits);
  // As Client::Infer, of a request that names this model.
  absl::StatusOr<grpc::ByteBuffer> Infer(const grpc::ByteBuffer& request, const CallLimits& limits);

 private:
  absl::StatusOr<grpc::ByteBuffer> Call(std::string_view method, const grpc::ByteBuffer& request,
                                        const CallLimits& limits);
  template <typename Request, typename Response>
  absl::StatusOr<Response> Ask(std::string_view method, const CallLimits& limits);

  const Client& client_;
  const ModelVersion model_;
  std::vector<std::size_t> servers_;  // empty: those that have it
};

}  // namespace inferpool::backend
