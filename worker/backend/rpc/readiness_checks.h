// Asks several model servers at once whether they can be sent requests.
//
// ServerReady alone does not tell. With strict readiness, Triton's default, it is false as long as
// any one model has failed to load or is being loaded, while all others are served. So a server
// that says no is asked on: ModelReady of a model that it had before, or, when none is known, its
// RepositoryIndex. It can be sent requests when a model is ready, unless others are still loading
// and it served nothing before: then it is starting.
//
// ServerReady and RepositoryIndex are not everywhere. A server without the first is asked for the
// models that are known to be worth asking for (Signs), and for its index; one that has neither,
// and that never had one of those models, is ready when it is live.
#pragma once

#include <grpcpp/completion_queue.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "shared/base/deadline.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/breaker.h"

namespace inferpool::backend {

// For one thread. What it knows of a server's models it has from the answers before.
class ReadinessChecks {
 public:
  using Stub = inference::GRPCInferenceService::StubInterface;

  // Names of a few models of a server, any of which shows by ModelReady that the server is ready.
  using Signs = std::function<std::vector<std::string>(std::size_t server)>;

  // The servers' stubs must outlive it.
  explicit ReadinessChecks(const std::vector<Stub*>& servers, Signs signs = {});

  // Cancels those that are out. What does not end, because a socket to a server that reads nothing
  // is full, is left to gRPC until the process exits.
  ~ReadinessChecks();
  ReadinessChecks(const ReadinessChecks&) = delete;
  ReadinessChecks& operator=(const ReadinessChecks&) = delete;

  bool IsOut(std::size_t server) const;
  bool AnyOut() const;

  // None must be out to that server. A server that is there and asked for its index has some time
  // past the deadline.
  void Ask(std::size_t server, Deadline deadline);

  struct Answer {
    std::size_t server;
    Breaker::ProbeResult result;
    absl::Status ready;    // UNAVAILABLE when it says that it is not; otherwise the call's status
    bool in_part = false;  // it can be sent requests, but says that not all of its models are ready
  };

  // The next answer; none by `until`.
  std::optional<Answer> Next(Deadline until);

  // Whether a question is out past its deadline: the server reads nothing. It is cancelled, and its
  // answer may come yet.
  bool IsOverdue(std::size_t server, TimePoint now);

 private:
  struct Call;
  struct Server;

  // What a call brought; none when the server has been asked on.
  using Verdict = std::optional<Answer>;

  template <typename Response>
  using Reader = std::unique_ptr<grpc::ClientAsyncResponseReaderInterface<Response>>;
  template <typename Request, typename Response>
  using Start = Reader<Response> (Stub::*)(grpc::ClientContext*, const Request&,
                                           grpc::CompletionQueue*);

  Verdict AskAboutModel(Server& server, Deadline deadline);
  Verdict AskForIndex(Server& server, Deadline deadline);
  // The first of the signs, and the others when it is none. `has_any`: it has one of those before,
  // which is not ready.
  Verdict AskAboutSigns(Server& server, std::vector<std::string> signs, std::size_t at,
                        bool has_any, Deadline deadline);
  Verdict AskWhetherLive(Server& server, Deadline deadline);
  // Of a server that has nothing else: whether it knows the protocol at all, by a model that nobody
  // has. Whatever it says to that, it has the call; one that has it not is asked `next`, if any.
  using Question = Verdict (ReadinessChecks::*)(Server&, Deadline);
  template <typename Request, typename Response>
  Verdict AskAboutNothing(Server& server, Deadline deadline, Start<Request, Response> start,
                          const Request& request, Question next);
  Verdict AskForNoModel(Server& server, Deadline deadline);
  Verdict AskForNoMetadata(Server& server, Deadline deadline);
  Verdict AskForNoInference(Server& server, Deadline deadline);
  static Answer Serves(Server& server, bool in_part);
  static Answer ServesNot(Server& server, Breaker::ProbeResult result, absl::Status reason);

  // `judge` is given the call's status and response.
  template <typename Request, typename Response, typename Judge>
  void Send(Server& server, Deadline deadline, Start<Request, Response> start,
            const Request& request, const Judge& judge);

  // Takes a call that has ended from its server; null when none has by `until`.
  std::unique_ptr<Call> Take(Deadline until);

  const Signs signs_;
  std::unique_ptr<grpc::CompletionQueue> queue_;
  std::vector<Server> servers_;
};

}  // namespace inferpool::backend
