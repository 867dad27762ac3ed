#include "modelserver/service/endpoints.h"

#include <functional>
#include <type_traits>
#include <utility>

#include "modelserver/rpc/message.h"

namespace inferpool::modelserver {
namespace {

struct Manner {
  // With a small request the method calls YieldQueue itself when needed, or never takes long.
  bool quick = false;
  // The number of calls that gRPC can hand over before the first of them has asked for the next.
  // More calls than these wait in gRPC, which drops them when the server is shut down at that time.
  int ahead = 1;
};

constexpr Manner kQuick{.quick = true};

// The function of a generated service that asks for the next call of a method with one request.
template <typename Wire>
using Next = void (Wire::*)(grpc::ServerContext*, grpc::ByteBuffer*, UnaryMethod::Writer*,
                            grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);

// Opens methods of the generated services `wire`, and keeps them in `methods`.
class Opener {
 public:
  Opener(CallLimit& limit, std::vector<std::shared_ptr<const void>>& methods)
      : limit_(limit), methods_(methods) {}

  grpc::ServerCompletionQueue* queue() { return limit_.threads.queue(); }

  // Opens a method that a member function of `owner` answers.
  template <typename Wire, typename Owner, typename Request, typename Response>
  void Unary(std::type_identity_t<Wire>& wire, Next<Wire> next, Owner& owner,
             grpc::Status (Owner::*answer)(Call&, const Request&, Response&), Manner manner = {}) {
    Unary<Wire, Request, Response>(
        wire, next,
        [&owner, answer](Call& call, const Request& request, Response& response) {
          return (owner.*answer)(call, request, response);
        },
        manner);
  }

  // The same with a member function that needs only the messages.
  template <typename Wire, typename Owner, typename Request, typename Response>
  void Unary(std::type_identity_t<Wire>& wire, Next<Wire> next, Owner& owner,
             grpc::Status (Owner::*answer)(const Request&, Response&), Manner manner = {}) {
    Unary<Wire, Request, Response>(
        wire, next,
        [&owner, answer](Call& /*call*/, const Request& request, Response& response) {
          return (owner.*answer)(request, response);
        },
        manner);
  }

  // Opens a method whose stream a member function of `owner` serves. `await` asks for the next
  // call.
  template <typename Stream, typename Owner, typename Await>
  void Streaming(Await await, Owner& owner, grpc::Status (Owner::*serve)(StreamingCall<Stream>&)) {
    using Served = StreamingCall<Stream>;
    Open<Served>({.limit = limit_,
                  .await = std::move(await),
                  .serve = [&owner, serve](Served& call) { return (owner.*serve)(call); }},
                 1);
  }

 private:
  template <typename Wire, typename Request, typename Response, typename Answer>
  void Unary(Wire& wire, Next<Wire> next, Answer answer, Manner manner) {
    Open<UnaryCall>(
        {.limit = limit_,
         .await = [&wire, next, queue = queue()](
                      grpc::ServerContext* context, grpc::ByteBuffer* request,
                      UnaryMethod::Writer* writer,
                      void* tag) { (wire.*next)(context, request, writer, queue, queue, tag); },
         .serve =
             [answer, manner](Call& call, grpc::ByteBuffer& request, grpc::ByteBuffer& response) {
               if ((!manner.quick || request.Length() > kSmallRequest) && !call.YieldQueue()) {
                 return Call::TooManyCalls();
               }
               Request asked;
               if (!Parse(request, asked)) {
                 return NotParsed();
               }
               Response answered;
               const grpc::Status status = answer(call, asked, answered);
               return status.ok() ? Serialize(answered, response) : status;
             }},
        manner.ahead);
  }

  template <typename Served>
  void Open(typename Served::Method method, int ahead) {
    const auto kept = std::make_shared<const typename Served::Method>(std::move(method));
    methods_.push_back(kept);
    for (int i = 0; i < ahead; ++i) Served::Await(*kept);
  }

  CallLimit& limit_;
  std::vector<std::shared_ptr<const void>>& methods_;
};

}  // namespace

void Endpoints::Register(grpc::ServerBuilder& builder) {
  builder.RegisterService(&kserve_);
  builder.RegisterService(&grpc_health_);
}

void Endpoints::Open(CallLimit& limit) {
  Opener open(limit, methods_);
  grpc::ServerCompletionQueue* queue = open.queue();
  open.Unary(kserve_, &KServe::RequestServerLive, service_, &Service::ServerLive, kQuick);
  open.Unary(kserve_, &KServe::RequestServerReady, service_, &Service::ServerReady, kQuick);
  open.Unary(kserve_, &KServe::RequestModelReady, service_, &Service::ModelReady, kQuick);
  open.Unary(kserve_, &KServe::RequestServerMetadata, service_, &Service::ServerMetadata);
  open.Unary(kserve_, &KServe::RequestModelMetadata, service_, &Service::ModelMetadata);
  open.Unary(kserve_, &KServe::RequestModelConfig, service_, &Service::ModelConfig);
  open.Unary(kserve_, &KServe::RequestModelStatistics, service_, &Service::ModelStatistics);
  open.Unary(kserve_, &KServe::RequestRepositoryIndex, service_, &Service::RepositoryIndex);
  open.Unary(kserve_, &KServe::RequestRepositoryModelLoad, service_, &Service::RepositoryModelLoad);
  open.Unary(kserve_, &KServe::RequestRepositoryModelUnload, service_,
             &Service::RepositoryModelUnload);
  open.Unary(kserve_, &KServe::RequestSystemSharedMemoryStatus, service_,
             &Service::SystemSharedMemoryStatus);
  open.Unary(kserve_, &KServe::RequestSystemSharedMemoryRegister, service_,
             &Service::SystemSharedMemoryRegister);
  open.Unary(kserve_, &KServe::RequestSystemSharedMemoryUnregister, service_,
             &Service::SystemSharedMemoryUnregister);
  open.Unary(kserve_, &KServe::RequestCudaSharedMemoryStatus, service_,
             &Service::CudaSharedMemoryStatus);
  open.Unary(kserve_, &KServe::RequestCudaSharedMemoryRegister, service_,
             &Service::CudaSharedMemoryRegister);
  open.Unary(kserve_, &KServe::RequestCudaSharedMemoryUnregister, service_,
             &Service::CudaSharedMemoryUnregister);
  open.Unary(kserve_, &KServe::RequestTraceSetting, service_, &Service::TraceSetting);
  open.Unary(kserve_, &KServe::RequestLogSettings, service_, &Service::LogSettings);
  open.Unary(kserve_, &KServe::RequestModelInfer, service_, &Service::ModelInfer,
             {.quick = true, .ahead = 128});
  open.Streaming(
      [this, queue](auto* context, auto* /*request*/, auto* stream, void* tag) {
        kserve_.RequestModelStreamInfer(context, stream, queue, queue, tag);
      },
      service_, &Service::ModelStreamInfer);
  open.Unary(grpc_health_, &Health::RequestCheck, health_, &HealthService::Check, kQuick);
  open.Streaming(
      [this, queue](auto* context, auto* request, auto* stream, void* tag) {
        grpc_health_.RequestWatch(context, request, stream, queue, queue, tag);
      },
      health_, &HealthService::Watch);
}

}  // namespace inferpool::modelserver
