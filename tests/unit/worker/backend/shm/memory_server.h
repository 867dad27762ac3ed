// A model server inside the test that really maps the segments of shared memory it is told of.
#pragma once

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "proto/kserve.grpc.pb.h"
#include "shared/base/file_descriptor.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::test {

// Knows regions as Triton does, and one model: each byte of "in" plus one is "out".
class MemoryServer final : public inference::GRPCInferenceService::Service {
 public:
  MemoryServer() {
    static const auto* const forever = new grpc::CompletionQueue();  // as FakeModelServer has it
    (void)forever;
    Start();
  }
  ~MemoryServer() override { Stop(); }

  void Start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(target(), grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

  std::string target() const { return "unix:" + folder_ / "s"; }

  std::set<std::string> regions() {
    const std::lock_guard lock(mutex_);
    return regions_;
  }
  void ForgetAll() {
    const std::lock_guard lock(mutex_);
    regions_.clear();
  }
  // What Register and Unregister do first.
  void OnCall(std::function<grpc::Status()> first) {
    const std::lock_guard lock(mutex_);
    first_ = std::move(first);
  }

  // What ModelInfer does first, with what it was asked.
  void OnInfer(std::function<grpc::Status(const inference::ModelInferRequest&)> first) {
    const std::lock_guard lock(mutex_);
    first_of_infer_ = std::move(first);
  }

  std::atomic<int> register_calls = 0;
  std::atomic<int> infer_calls = 0;
  std::atomic<int> by_reference = 0;  // of them

 private:
  grpc::Status First() {
    std::function<grpc::Status()> first;
    {
      const std::lock_guard lock(mutex_);
      first = first_;
    }
    return first();
  }

  grpc::Status ServerReady(grpc::ServerContext*, const inference::ServerReadyRequest*,
                           inference::ServerReadyResponse* response) override {
    response->set_ready(true);
    return grpc::Status::OK;
  }

  grpc::Status SystemSharedMemoryRegister(
      grpc::ServerContext*, const inference::SystemSharedMemoryRegisterRequest* request,
      inference::SystemSharedMemoryRegisterResponse*) override {
    ++register_calls;
    if (const grpc::Status status = First(); !status.ok()) return status;
    const FileDescriptor file(shm_open(request->key().c_str(), O_RDWR, 0));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0 ||
        static_cast<std::uint64_t>(status.st_size) < request->byte_size()) {
      return {grpc::StatusCode::INTERNAL, "Unable to open shared memory region"};
    }
    const std::lock_guard lock(mutex_);
    if (!regions_.insert(request->name()).second) {
      return {grpc::StatusCode::ALREADY_EXISTS, "exists"};
    }
    return grpc::Status::OK;
  }

  grpc::Status SystemSharedMemoryUnregister(
      grpc::ServerContext*, const inference::SystemSharedMemoryUnregisterRequest* request,
      inference::SystemSharedMemoryUnregisterResponse*) override {
    if (const grpc::Status status = First(); !status.ok()) return status;
    const std::lock_guard lock(mutex_);
    regions_.erase(request->name());
    return grpc::Status::OK;
  }

  grpc::Status ModelInfer(grpc::ServerContext*, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    ++infer_calls;
    by_reference += request->raw_input_contents_size() == 0 ? 1 : 0;
    std::function<grpc::Status(const inference::ModelInferRequest&)> first;
    {
      const std::lock_guard lock(mutex_);
      first = first_of_infer_;
    }
    if (const grpc::Status status = first(*request); !status.ok()) return status;
    auto& output = *response->add_outputs();
    output.set_name("out");
    output.set_datatype("UINT8");
    *output.mutable_shape() = request->inputs(0).shape();
    std::string bytes;
    if (request->raw_input_contents_size() > 0) {
      bytes = request->raw_input_contents(0);
    } else if (const auto status = Access(request->inputs(0).parameters(), bytes, false);
               !status.ok()) {
      return status;
    }
    for (char& byte : bytes) ++byte;
    std::string& raw = *response->add_raw_output_contents();
    if (request->outputs(0).parameters().empty()) {
      raw = bytes;
      return grpc::Status::OK;
    }
    return Access(request->outputs(0).parameters(), bytes, true);
  }

  // Reads the place that `parameters` name, or writes `bytes` there.
  grpc::Status Access(
      const google::protobuf::Map<std::string, inference::InferParameter>& parameters,
      std::string& bytes, bool write) {
    const std::string& name = parameters.at("shared_memory_region").string_param();
    if (!regions().contains(name)) {
      return {grpc::StatusCode::NOT_FOUND, "Unable to find shared memory region: '" + name + "'"};
    }
    const auto offset = parameters.at("shared_memory_offset").int64_param();
    bytes.resize(static_cast<std::size_t>(parameters.at("shared_memory_byte_size").int64_param()));
    const FileDescriptor file(shm_open(("/" + name).c_str(), O_RDWR, 0));
    const auto done = write ? pwrite(file.get(), bytes.data(), bytes.size(), offset)
                            : pread(file.get(), bytes.data(), bytes.size(), offset);
    return done == static_cast<ssize_t>(bytes.size())
               ? grpc::Status::OK
               : grpc::Status(grpc::StatusCode::INTERNAL, "short");
  }

  const TemporaryFolder folder_;
  std::mutex mutex_;
  std::set<std::string> regions_;                                        // guarded by mutex_
  std::function<grpc::Status()> first_ = [] { return grpc::Status(); };  // guarded by mutex_
  std::function<grpc::Status(const inference::ModelInferRequest&)> first_of_infer_ =
      [](const auto&) { return grpc::Status(); };  // guarded by mutex_
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace inferpool::test
