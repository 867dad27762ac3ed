// Calls and their threads, by a service of one method: grpc.health.v1's Check and Watch, whatever
// they are made to do here.

#include "modelserver/rpc/call.h"

#include <grpc/grpc.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <iterator>
#include <latch>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

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
using std::chrono::milliseconds;
using std::chrono::seconds;

// gRPC's own end can take 10 s (main.cc); not after every test.
[[maybe_unused]] const bool kInitialised = (grpc_init(), true);

using Wire = Health::WithRawMethod_Check<Health::WithRawMethod_Watch<Health::Service>>;
using Stream = grpc::ServerAsyncWriter<grpc::ByteBuffer>;
using Watch = StreamingCall<Stream>;

grpc::ByteBuffer Serving() {
  HealthCheckResponse response;
  response.set_status(HealthCheckResponse::SERVING);
  grpc::ByteBuffer message;
  EXPECT_TRUE(Serialize(response, message).ok());
  return message;
}

class Calls : public testing::Test {
 protected:
  void Serve(std::function<grpc::Status(Call&)> check, std::size_t max_calls = 200,
             std::function<grpc::Status(Watch&)> watch = {},
             milliseconds rest = LeaderFollowerThreads::kMaxIdle) {
    const std::string address = "unix:" + (folder_.path() / "s").string();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&wire_);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    threads_ = std::make_unique<LeaderFollowerThreads>(*queue_, rest);
    limit_.reset(new CallLimit{.threads = *threads_, .max_calls = max_calls});
    checks_.reset(new UnaryMethod{
        .limit = *limit_,
        .await =
            [this](auto* context, auto* request, auto* writer, void* tag) {
              wire_.RequestCheck(context, request, writer, queue_.get(), queue_.get(), tag);
            },
        .serve =
            [check = std::move(check)](Call& call, grpc::ByteBuffer& /*request*/,
                                       grpc::ByteBuffer& response) {
              response = Serving();
              return check(call);
            }});
    UnaryCall::Await(*checks_);
    watches_.reset(new StreamingMethod<Stream>{
        .limit = *limit_,
        .await =
            [this](auto* context, auto* request, auto* writer, void* tag) {
              wire_.RequestWatch(context, request, writer, queue_.get(), queue_.get(), tag);
            },
        .serve = std::move(watch)});
    Watch::Await(*watches_);
    stub_ = Health::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }

  void TearDown() override {
    server_->Shutdown(std::chrono::system_clock::now());
    threads_.reset();
  }

  grpc::Status Check(seconds timeout = seconds(60)) {
    grpc::ClientContext context;
    return Check(context, timeout);
  }
  grpc::Status Check(grpc::ClientContext& context, milliseconds timeout = seconds(60)) {
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    HealthCheckResponse response;
    grpc::Status status = stub_->Check(&context, {}, &response);
    EXPECT_TRUE(!status.ok() || response.status() == HealthCheckResponse::SERVING);
    return status;
  }

  Folder folder_;
  Wire wire_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<CallLimit> limit_;
  std::unique_ptr<const UnaryMethod> checks_;
  std::unique_ptr<const StreamingMethod<Stream>> watches_;
  std::unique_ptr<LeaderFollowerThreads> threads_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Health::Stub> stub_;
};

// Waits until the caller has gone.
bool Gone(Call& call, milliseconds patience = seconds(20)) {
  EXPECT_TRUE(call.YieldQueue());
  std::promise<void> gone;
  const std::stop_callback tell(call.gone(), [&] { gone.set_value(); });
  return gone.get_future().wait_for(patience) == std::future_status::ready;
}

TEST_F(Calls, EachIsServedByAThreadThatMayWaitForTheOthers) {
  constexpr int kCalls = 100;
  std::latch all(kCalls);
  Serve([&](Call& call) {
    EXPECT_TRUE(call.YieldQueue());
    all.arrive_and_wait();
    return grpc::Status::OK;
  });
  std::vector<std::future<grpc::Status>> answers;
  for (int i = 0; i < kCalls; ++i) {
    answers.push_back(std::async(std::launch::async, [this] { return Check(); }));
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
}

TEST_F(Calls, MoreThanThereIsRoomForAreRefusedAndTheRestGoesOn) {
  std::promise<void> open;
  std::shared_future<void> opened = open.get_future().share();
  std::atomic<int> waiting = 0;
  Serve(
      [&](Call& call) {
        EXPECT_TRUE(call.YieldQueue());
        ++waiting;
        opened.wait();
        return grpc::Status::OK;
      },
      3);
  std::vector<std::future<grpc::Status>> answers;
  for (int i = 0; i < 3; ++i) {
    answers.push_back(std::async(std::launch::async, [this] { return Check(); }));
  }
  Eventually([&] { return waiting == 3; }, "all threads are busy");
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Check().error_code(), StatusCode::RESOURCE_EXHAUSTED);
    grpc::ClientContext context;
    EXPECT_EQ(stub_->Watch(&context, {})->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  open.set_value();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  EXPECT_TRUE(Check().ok());
}

TEST_F(Calls, QuickOnesTakeTurnsOnOneThread) {
  std::set<std::thread::id> seen;  // by one thread at a time
  Serve([&](Call& /*call*/) {
    seen.insert(std::this_thread::get_id());
    return grpc::Status::OK;
  });
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Check().ok());
  EXPECT_EQ(seen.size(), 1U);
}

TEST_F(Calls, ThoseThatTakeLongUseThreadsAgain) {
  std::mutex mutex;
  std::set<std::thread::id> seen;
  Serve([&](Call& call) {
    EXPECT_TRUE(call.YieldQueue());
    EXPECT_TRUE(call.YieldQueue());  // asked twice, the same
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
    return grpc::Status::OK;
  });
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(Check().ok());
  // Three, unless the machine is so busy that a thread is late for its next call.
  EXPECT_LE(seen.size(), 20U);
}

std::ptrdiff_t ThreadsOfThisProcess() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

TEST_F(Calls, ThreadsThatAreNotNeededEnd) {
  constexpr int kCalls = 60;
  std::unique_ptr<std::latch> all;
  Serve(
      [&](Call& call) {
        EXPECT_TRUE(call.YieldQueue());
        all->arrive_and_wait();
        return grpc::Status::OK;
      },
      200, {}, milliseconds(5));
  const std::ptrdiff_t before = ThreadsOfThisProcess();
  for (int round = 0; round < 5; ++round) {
    all = std::make_unique<std::latch>(kCalls);
    std::vector<std::future<grpc::Status>> answers;
    for (int i = 0; i < kCalls; ++i) {
      answers.push_back(std::async(std::launch::async, [this] { return Check(); }));
    }
    for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
    Eventually([&] { return ThreadsOfThisProcess() < before + 20; }, "they end");
  }
}

TEST_F(Calls, ACallHearsThatItsCallerHasLeft) {
  std::promise<bool> heard;
  std::promise<void> here;
  Serve([&](Call& call) {
    EXPECT_FALSE(call.gone().stop_requested());
    here.set_value();
    heard.set_value(Gone(call));
    return grpc::Status::OK;
  });
  grpc::ClientContext context;
  auto status = std::async(std::launch::async, [&] { return Check(context); });
  here.get_future().wait();
  context.TryCancel();
  EXPECT_EQ(status.get().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(heard.get_future().get());
}

TEST_F(Calls, ACallHearsThatItsDeadlineIsOver) {
  std::promise<bool> heard;
  Serve([&](Call& call) {
    heard.set_value(Gone(call));
    return grpc::Status::OK;
  });
  grpc::ClientContext context;
  EXPECT_EQ(Check(context, milliseconds(100)).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(heard.get_future().get());
}

TEST_F(Calls, AThrowingHandlerFailsItsCallAlone) {
  std::atomic<int> calls = 0;
  Serve([&](Call& /*call*/) {
    if (++calls == 1) throw std::runtime_error("out of something");
    return grpc::Status::OK;
  });
  const grpc::Status status = Check();
  EXPECT_EQ(status.error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(status.error_message(), "out of something");
  EXPECT_TRUE(Check().ok());
}

TEST_F(Calls, ManyComeAndGo) {
  Serve([](Call& call) {
    if (call.context().client_metadata().count("wait") > 0) Gone(call);
    return grpc::Status::OK;
  });
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 8; ++caller) {
    callers.emplace_back([this, caller] {
      for (int i = 0; i < 200; ++i) {
        grpc::ClientContext context;
        const bool leaves = (i + caller) % 5 == 0;
        if (leaves) context.AddMetadata("wait", "1");
        const grpc::Status status =
            Check(context, leaves ? milliseconds(i % 4) : milliseconds(60'000));
        EXPECT_EQ(status.error_code(), leaves ? StatusCode::DEADLINE_EXCEEDED : StatusCode::OK)
            << status.error_message();
      }
    });
  }
}

TEST_F(Calls, AStreamIsWrittenAsItsThreadGoesOn) {
  Serve({}, 200, [](Watch& watch) {
    HealthCheckRequest request;
    EXPECT_TRUE(Parse(watch.request(), request));
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(watch.Write(Serving()));
    return grpc::Status(StatusCode::OUT_OF_RANGE, request.service());
  });
  grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service("the end");
  const auto reader = stub_->Watch(&context, request);
  HealthCheckResponse response;
  int read = 0;
  while (reader->Read(&response)) ++read;
  EXPECT_EQ(read, 100);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(status.error_message(), "the end");
}

TEST_F(Calls, AStreamToWhoHasLeftEnds) {
  std::promise<void> ended;
  Serve({}, 200, [&](Watch& watch) {
    while (watch.Write(Serving())) {
    }
    ended.set_value();
    return grpc::Status::OK;
  });
  grpc::ClientContext context;
  const auto reader = stub_->Watch(&context, {});
  HealthCheckResponse response;
  EXPECT_TRUE(reader->Read(&response));
  context.TryCancel();
  EXPECT_EQ(ended.get_future().wait_for(seconds(20)), std::future_status::ready);
}

TEST_F(Calls, TheEndWaitsForThoseThatDoNotListen) {
  std::promise<void> here;
  std::atomic<bool> ended = false;
  Serve([&](Call& call) {
    EXPECT_TRUE(call.YieldQueue());
    here.set_value();
    std::this_thread::sleep_for(milliseconds(300));
    ended = true;
    return grpc::Status::OK;
  });
  auto answer = std::async(std::launch::async, [this] { return Check(); });
  here.get_future().wait();
  server_->Shutdown(std::chrono::system_clock::now());
  threads_.reset();
  EXPECT_TRUE(ended);
  EXPECT_FALSE(answer.get().ok());
}

TEST_F(Calls, ShutdownCancelsThoseThatWait) {
  std::atomic<int> waiting = 0;
  Serve([&](Call& call) {
    ++waiting;
    return Gone(call) ? grpc::Status::CANCELLED : grpc::Status::OK;
  });
  std::vector<std::future<grpc::Status>> answers;
  for (int i = 0; i < 10; ++i) {
    answers.push_back(std::async(std::launch::async, [this] { return Check(); }));
  }
  Eventually([&] { return waiting == 10; }, "all wait");
  server_->Shutdown(std::chrono::system_clock::now());
  for (auto& answer : answers) EXPECT_FALSE(answer.get().ok());
}

}  // namespace
}  // namespace inferpool::modelserver
