#include "modelserver/rpc/health.h"

#include <grpc/grpc.h>
#include <gtest/gtest.h>

#include <chrono>
#include <list>
#include <memory>
#include <string>

#include "modelserver/rpc/message.h"
#include "proto/health.grpc.pb.h"
#include "tests/unit/modelserver/execution/scripted_engine.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using grpc::StatusCode;
using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

using Wire = Health::WithRawMethod_Watch<Health::Service>;
using Stream = grpc::ServerAsyncWriter<grpc::ByteBuffer>;

// gRPC's own end can take 10 s (main.cc); not after every test.
[[maybe_unused]] const bool kInitialised = (grpc_init(), true);

HealthCheckRequest Of(const std::string& service) {
  HealthCheckRequest request;
  request.set_service(service);
  return request;
}

class HealthServiceTest : public testing::Test {
 protected:
  struct Watcher {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader;

    // The next status that it is told; UNKNOWN, which the service never tells, at the end.
    HealthCheckResponse::ServingStatus Next() {
      HealthCheckResponse response;
      return reader->Read(&response) ? response.status() : HealthCheckResponse::UNKNOWN;
    }
  };

  void SetUp() override {
    const std::string address = "unix:" + (folder_.path() / "s").string();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&wire_);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    threads_ = std::make_unique<LeaderFollowerThreads>(*queue_);
    limit_.reset(new CallLimit{.threads = *threads_, .max_calls = 200});
    watches_.reset(new StreamingMethod<Stream>{
        .limit = *limit_,
        .await =
            [this](auto* context, auto* request, auto* writer, void* tag) {
              wire_.RequestWatch(context, request, writer, queue_.get(), queue_.get(), tag);
            },
        .serve = [this](HealthWatch& watch) { return service_.Watch(watch); }});
    HealthWatch::Await(*watches_);
    stub_ = Health::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }

  void TearDown() override {
    server_->Shutdown(std::chrono::system_clock::now());
    threads_.reset();
  }

  HealthCheckResponse::ServingStatus Check(const std::string& name = "") {
    HealthCheckResponse response;
    EXPECT_TRUE(service_.Check(Of(name), response).ok());
    return response.status();
  }

  void Watch(Watcher& watcher, const std::string& name = "") {
    watcher.context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    watcher.reader = stub_->Watch(&watcher.context, Of(name));
  }

  HealthService service_;
  Folder folder_;
  Wire wire_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<CallLimit> limit_;
  std::unique_ptr<const StreamingMethod<Stream>> watches_;
  std::unique_ptr<LeaderFollowerThreads> threads_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Health::Stub> stub_;
};

TEST_F(HealthServiceTest, AtFirstItDoesNotServe) {
  EXPECT_EQ(Check(), HealthCheckResponse::NOT_SERVING);
  service_.SetServing(true);
  EXPECT_EQ(Check(), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check("inference.GRPCInferenceService"), HealthCheckResponse::SERVING);
  service_.SetServing(false);
  EXPECT_EQ(Check(), HealthCheckResponse::NOT_SERVING);
}

TEST_F(HealthServiceTest, AnotherNameIsNotFound) {
  HealthCheckResponse response;
  EXPECT_EQ(service_.Check(Of("another"), response).error_code(), StatusCode::NOT_FOUND);
}

TEST_F(HealthServiceTest, AfterItsEndItNeverServesAgain) {
  service_.SetServing(true);
  service_.Shutdown();
  EXPECT_EQ(Check(), HealthCheckResponse::NOT_SERVING);
  service_.SetServing(true);  // a model that was loaded meanwhile
  EXPECT_EQ(Check(), HealthCheckResponse::NOT_SERVING);
}

TEST_F(HealthServiceTest, AWatcherHearsOfEachChangeAndOfTheEnd) {
  Watcher watcher;
  Watch(watcher);
  EXPECT_EQ(watcher.Next(), HealthCheckResponse::NOT_SERVING);
  service_.SetServing(true);
  EXPECT_EQ(watcher.Next(), HealthCheckResponse::SERVING);
  service_.SetServing(true);  // which is no change
  service_.Shutdown();
  EXPECT_EQ(watcher.Next(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(watcher.Next(), HealthCheckResponse::UNKNOWN);
  EXPECT_EQ(watcher.reader->Finish().error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(HealthServiceTest, WhoWatchesAnotherNameIsToldThatItIsUnknown) {
  Watcher watcher;
  Watch(watcher, "another");
  EXPECT_EQ(watcher.Next(), HealthCheckResponse::SERVICE_UNKNOWN);
  service_.SetServing(true);
  service_.Shutdown();
  EXPECT_EQ(watcher.Next(), HealthCheckResponse::UNKNOWN);
}

TEST_F(HealthServiceTest, AWatcherThatLeavesMakesRoomForAnother) {
  std::list<Watcher> watchers;
  for (int i = 0; i < kMaxWatchers; ++i) {
    Watch(watchers.emplace_back());
    EXPECT_EQ(watchers.back().Next(), HealthCheckResponse::NOT_SERVING);
  }
  Watcher further;
  Watch(further);
  EXPECT_EQ(further.reader->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  watchers.front().context.TryCancel();
  EXPECT_EQ(watchers.front().reader->Finish().error_code(), StatusCode::CANCELLED);
  Eventually(
      [&] {
        Watcher next;
        Watch(next);
        return next.Next() == HealthCheckResponse::NOT_SERVING;
      },
      "the place is free");
}

}  // namespace
}  // namespace inferpool::modelserver
