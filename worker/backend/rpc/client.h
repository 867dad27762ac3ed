// The worker's way to the model servers: KServe v2 calls, each on a server that is likely to
// answer, and on another one when it does not.
//
// Make it after the fork and before threads (it sets an environment variable for gRPC, and starts
// a thread). Thread safe: all threads of the worker share it. Every call carries a deadline, goes
// to the next target in turn whose breaker lets it, and is made once more, elsewhere if there is an
// elsewhere, when it is UNAVAILABLE and the retry budget has something left. Errors keep the code
// that the server or gRPC gave: UNAVAILABLE when the server is away, DEADLINE_EXCEEDED when it is
// too slow, NOT_FOUND for an unknown model.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "proto/model_description.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "shared/board/scoreboard.h"
#include "worker/backend/rpc/breaker.h"
#include "worker/backend/rpc/doorbell.h"
#include "worker/backend/rpc/prober.h"
#include "worker/backend/rpc/retry_budget.h"
#include "worker/backend/rpc/target.h"
#include "worker/backend/rpc/unary_call.h"

namespace inferpool::backend {

// Where an encoded request goes.
struct Attempt {
  std::size_t target;
  // False: a server may still be at work on what an earlier encoding for this call named, so
  // whatever it may write to or has yet to read must be let alone.
  bool settled;
};

// Encodes the request for an attempt. The slices are sent from where they lie, possibly after the
// call's end, so they must own their memory.
using Encoder = std::function<absl::StatusOr<grpc::ByteBuffer>(const Attempt&)>;

struct Answer {
  absl::StatusOr<grpc::ByteBuffer> message;
  std::size_t target = 0;  // that gave it
  // As in Attempt, after the call: no server is at work on anything that this call's encodings
  // named.
  bool settled = true;
};

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

  // OK as soon as one of the servers can be sent requests (ready_questions.h).
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

  // The same for a request and an answer in bytes. `encode` is called in this thread, once for each
  // attempt; its error ends the call.
  Answer Infer(const Encoder& encode, const CallLimits& limits) const;

  // Whether it is worth preparing a call: UNAVAILABLE, counted as a call that was refused, while
  // the breakers of all targets are open.
  absl::Status CheckAdmits() const;

  // By the index that Attempt and Answer have.
  std::size_t targets() const { return targets_.size(); }
  TargetState State(std::size_t target) const;

  // For calls to one server about what it alone has, such as shared memory or its readiness. They
  // pass by its breaker.
  UnaryCalls& calls(std::size_t target) const { return targets_[target]->calls(); }
  inference::GRPCInferenceService::StubInterface& stub(std::size_t target) const {
    return targets_[target]->stub();
  }

 private:
  struct Pick {
    std::size_t target;
    Breaker::Permit permit;
  };

  // The next target in turn that admits a call, and not `avoid` when another one does.
  std::optional<Pick> Choose(std::optional<std::size_t> avoid) const;

  // One attempt.
  struct Try {
    Answer answer;
    Breaker::Outcome outcome;
  };
  Try Make(Pick pick, bool settled, std::string_view method, const Encoder& encode,
           const CallLimits& limits) const;

  Answer Call(std::string_view method, const Encoder& encode, const CallLimits& limits) const;

  template <typename Response>
  absl::StatusOr<Response> Ask(std::string_view method, const google::protobuf::Message& request,
                               const CallLimits& limits) const;

  template <typename Request, typename Response>
  absl::StatusOr<Response> AskOfModel(std::string_view method, const std::string& model,
                                      const std::string& version, const CallLimits& limits) const;

  absl::Status Refuse() const;
  void Count(ModelCall what) const;

  ModelCallCounts* const counts_;
  mutable Doorbell bell_;
  std::vector<std::unique_ptr<Target>> targets_;
  mutable std::atomic<std::size_t> turn_ = 0;
  mutable RetryBudget budget_;
  Prober prober_;  // last: ends before what it looks at
};

}  // namespace inferpool::backend
