// A model server inside the test: real gRPC on a real socket, with answers that the test sets.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proto/kserve.grpc.pb.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::test {

// One model of the server.
struct FakeModel {
  inference::ModelMetadataResponse metadata;
  inference::ModelConfig config;
  std::function<grpc::Status(const inference::ModelInferRequest&, inference::ModelInferResponse*)>
      infer = [](const auto&, auto*) { return grpc::Status::OK; };
};

// One version of a model in the server's index.
struct FakeIndexEntry {
  std::string name;
  std::string version;
  std::string state = "READY";
};

inline void AddTensor(inference::ModelMetadataResponse::TensorMetadata& tensor,
                      const std::string& name, const std::string& datatype,
                      const std::vector<std::int64_t>& shape) {
  tensor.set_name(name);
  tensor.set_datatype(datatype);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
}

// A detector as ops/models has them: UINT8 pictures of any size in, end-to-end boxes out.
inline FakeModel FakeDetector(const std::string& name) {
  FakeModel model;
  model.metadata.set_name(name);
  model.metadata.add_versions("1");
  AddTensor(*model.metadata.add_inputs(), "image", "UINT8", {-1, -1, 3});
  AddTensor(*model.metadata.add_outputs(), "num_dets", "INT32", {1});
  AddTensor(*model.metadata.add_outputs(), "det_boxes", "FP32", {-1, 4});
  AddTensor(*model.metadata.add_outputs(), "det_scores", "FP32", {-1});
  AddTensor(*model.metadata.add_outputs(), "det_classes", "INT32", {-1});
  model.config.set_name(name);
  (*model.config.mutable_parameters())["class_names"].set_string_value("face\n");
  return model;
}

class FakeModelServer final : public inference::GRPCInferenceService::Service {
 public:
  FakeModelServer() : FakeModelServer("") {}
  // On the unix socket `path`; empty: one of its own.
  explicit FakeModelServer(const std::string& path)
      : path_(path.empty() ? folder_ / "server.sock" : path) {
    KeepGrpcUp();
    Start();
  }
  ~FakeModelServer() override { Stop(); }
  FakeModelServer(const FakeModelServer&) = delete;
  FakeModelServer& operator=(const FakeModelServer&) = delete;

  std::string target() const { return "unix:" + path_; }
  // The port of 127.0.0.1 that it listens on too.
  int port() const { return port_; }

  void Start() {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.AddListeningPort(target(), grpc::InsecureServerCredentials());
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  // Ends at once, as a server that is killed; calls in work are cut off.
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

  // "yolo@4": what is answered to those who ask for this version.
  void Set(const std::string& name, FakeModel model) {
    const std::lock_guard lock(mutex_);
    models_[name] = std::move(model);
  }
  void Remove(const std::string& name) {
    const std::lock_guard lock(mutex_);
    models_.erase(name);
  }

  // While calls may be out. Until then the index has the models that were set.
  void SetIndex(std::vector<FakeIndexEntry> entries) {
    const std::lock_guard lock(mutex_);
    index = std::move(entries);
  }

  // From now on these calls are UNIMPLEMENTED, as on servers that have not all of Triton's.
  void Lacks(std::set<std::string> calls) {
    const std::lock_guard lock(mutex_);
    lacking_ = std::move(calls);
  }

  // What every call does first; also those that are out.
  void SetDelay(std::chrono::milliseconds delay) { delay_ms_ = delay.count(); }
  void SetFailure(grpc::Status failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }

  // The connections that have asked for inference.
  std::set<std::string> Peers() {
    const std::lock_guard lock(mutex_);
    return peers_;
  }

  std::atomic<bool> ready = true;
  std::atomic<int> ready_calls = 0;
  std::atomic<int> metadata_calls = 0;
  std::atomic<int> config_calls = 0;
  std::atomic<int> infer_calls = 0;
  std::atomic<bool> index_asked_for_ready = false;
  std::atomic<int> model_ready_calls = 0;
  std::atomic<int> index_calls = 0;
  // What RepositoryIndex does first. Set it before calls.
  std::function<grpc::Status()> on_index = [] { return grpc::Status::OK; };
  // What RepositoryIndex answers, and ModelReady; none: the models that were set.
  std::optional<std::vector<FakeIndexEntry>> index;

 private:
  grpc::Status CheckHas(const std::string& call) {
    const std::lock_guard lock(mutex_);
    return lacking_.contains(call) ? grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "")
                                   : grpc::Status::OK;
  }

  std::vector<FakeIndexEntry> Index() {
    const std::lock_guard lock(mutex_);
    if (index) return *index;
    std::vector<FakeIndexEntry> entries;
    for (const auto& [name, model] : models_) entries.push_back({name, "1"});
    return entries;
  }

  grpc::Status Begin(const grpc::ServerContext& context) {
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(delay_ms_.load()) &&
           !context.IsCancelled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  // Sets `model` to a copy of the model of that name. A version that was not set by itself is as
  // the model without one.
  grpc::Status Find(const std::string& name, const std::string& version, FakeModel& model) {
    const std::lock_guard lock(mutex_);
    auto it = models_.find(name + "@" + version);
    if (version.empty() || it == models_.end()) it = models_.find(name);
    if (it == models_.end()) {
      return {grpc::StatusCode::NOT_FOUND, "Request for unknown model: '" + name + "'"};
    }
    model = it->second;
    return grpc::Status::OK;
  }

  grpc::Status ServerReady(grpc::ServerContext* context, const inference::ServerReadyRequest*,
                           inference::ServerReadyResponse* response) override {
    ++ready_calls;
    if (const grpc::Status status = CheckHas("ServerReady"); !status.ok()) return status;
    response->set_ready(ready);
    return Begin(*context);
  }

  grpc::Status ModelReady(grpc::ServerContext* context, const inference::ModelReadyRequest* request,
                          inference::ModelReadyResponse* response) override {
    ++model_ready_calls;
    if (const grpc::Status status = CheckHas("ModelReady"); !status.ok()) return status;
    response->set_ready(std::ranges::any_of(Index(), [&](const auto& entry) {
      return entry.name == request->name() && entry.state == "READY";
    }));
    return Begin(*context);
  }

  grpc::Status ServerLive(grpc::ServerContext* context, const inference::ServerLiveRequest*,
                          inference::ServerLiveResponse* response) override {
    if (const grpc::Status status = CheckHas("ServerLive"); !status.ok()) return status;
    response->set_live(true);
    return Begin(*context);
  }

  grpc::Status ServerMetadata(grpc::ServerContext* context, const inference::ServerMetadataRequest*,
                              inference::ServerMetadataResponse* response) override {
    if (const grpc::Status status = CheckHas("ServerMetadata"); !status.ok()) return status;
    if (const grpc::Status status = Begin(*context); !status.ok()) return status;
    response->set_name("fake");
    return grpc::Status::OK;
  }

  grpc::Status ModelMetadata(grpc::ServerContext* context,
                             const inference::ModelMetadataRequest* request,
                             inference::ModelMetadataResponse* response) override {
    ++metadata_calls;
    if (const grpc::Status status = CheckHas("ModelMetadata"); !status.ok()) return status;
    if (const grpc::Status status = Begin(*context); !status.ok()) return status;
    FakeModel model;
    const grpc::Status status = Find(request->name(), request->version(), model);
    *response = model.metadata;
    return status;
  }

  grpc::Status ModelConfig(grpc::ServerContext* context,
                           const inference::ModelConfigRequest* request,
                           inference::ModelConfigResponse* response) override {
    ++config_calls;
    if (const grpc::Status status = CheckHas("ModelConfig"); !status.ok()) return status;
    if (const grpc::Status status = Begin(*context); !status.ok()) return status;
    FakeModel model;
    const grpc::Status status = Find(request->name(), request->version(), model);
    *response->mutable_config() = model.config;
    return status;
  }

  grpc::Status ModelInfer(grpc::ServerContext* context, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    ++infer_calls;
    if (const grpc::Status status = CheckHas("ModelInfer"); !status.ok()) return status;
    {
      const std::lock_guard lock(mutex_);
      peers_.insert(context->peer());
    }
    if (const grpc::Status status = Begin(*context); !status.ok()) return status;
    FakeModel model;
    const std::string& version = request->model_version();
    if (const grpc::Status status = Find(request->model_name(), version, model); !status.ok()) {
      return status;
    }
    response->set_model_name(request->model_name());
    response->set_model_version(version.empty() ? "1" : version);
    return model.infer(*request, response);
  }

  grpc::Status RepositoryIndex(grpc::ServerContext* context,
                               const inference::RepositoryIndexRequest* request,
                               inference::RepositoryIndexResponse* response) override {
    ++index_calls;
    if (const grpc::Status status = CheckHas("RepositoryIndex"); !status.ok()) return status;
    if (const grpc::Status status = on_index(); !status.ok()) return status;
    index_asked_for_ready = request->ready();
    for (const auto& [name, version, state] : Index()) {
      auto& entry = *response->add_models();
      entry.set_name(name);
      entry.set_version(version);
      entry.set_state(state);
    }
    return Begin(*context);
  }

  // gRPC's last user pays for its end: up to 10 s after a large message, when a poller in its
  // background still waits (1.51). So that this is not paid after each test, there is no last one.
  static void KeepGrpcUp() {
    static const auto* const forever = new grpc::CompletionQueue();
    (void)forever;
  }

  const TemporaryFolder folder_;
  const std::string path_;
  int port_ = 0;
  std::atomic<long> delay_ms_ = 0;
  std::mutex mutex_;
  std::map<std::string, FakeModel> models_;  // guarded by mutex_
  grpc::Status failure_;                     // guarded by mutex_
  std::set<std::string> peers_;              // guarded by mutex_
  std::set<std::string> lacking_;            // guarded by mutex_
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace inferpool::test
