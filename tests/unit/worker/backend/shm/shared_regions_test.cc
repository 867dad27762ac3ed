// backend::SharedRegions and tensors by reference, against a server that really maps the segments.
#include "worker/backend/shm/shared_regions.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <latch>
#include <stop_token>
#include <thread>

#include "tests/unit/worker/backend/shm/memory_server.h"
#include "tests/unit/worker/backend/shm/shared_memory_folder.h"
#include "worker/backend/rpc/grpc_status.h"
#include "worker/backend/shm/shared_memory_probe.h"
#include "worker/backend/shm/sweep.h"
#include "worker/backend/tensor_message.h"

namespace inferpool::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::MemoryServer;
using testing::HasSubstr;
using testing::IsEmpty;
using Way = SharedRegions::Way;

class SharedRegionsTest : public testing::Test {
 protected:
  SharedRegions Regions(Transport transport) {
    return SharedRegions(transport, {{"first", &calls_}, {"second", &other_calls_}});
  }
  std::shared_ptr<Arena> MakeArena() { return *Arena::Create(folder_.domain(), 1 << 16); }
  static Deadline Soon() { return Deadline::After(seconds(20)); }

  Swept Sweep(SharedRegions& regions, Clock::duration time = seconds(20)) {
    return SweepSegments(
        folder_.domain(),
        [&](const std::string& name) { return regions.Unregister(name, Deadline::After(time)); },
        Soon());
  }

  const test::SharedMemoryFolder folder_;
  MemoryServer server_;
  MemoryServer other_;
  std::shared_ptr<grpc::Channel> channel_ =
      grpc::CreateChannel(server_.target(), grpc::InsecureChannelCredentials());
  UnaryCalls calls_{channel_};
  UnaryCalls other_calls_{grpc::CreateChannel(other_.target(), grpc::InsecureChannelCredentials())};
  const TimePoint start_ = Clock::now();
};

TEST_F(SharedRegionsTest, RegistersAnArenaOnceAtEachTarget) {
  SharedRegions regions = Regions(Transport::kAuto);
  const auto arena = MakeArena();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
  EXPECT_EQ(server_.register_calls, 1);
  EXPECT_EQ(other_.register_calls, 0);
  EXPECT_EQ(*regions.Prepare(1, arena, Soon(), start_), Way::kShared);
  EXPECT_EQ(other_.register_calls, 1);
  EXPECT_EQ(server_.regions(), other_.regions());
  EXPECT_TRUE(server_.regions().contains(arena->name()));
}

TEST_F(SharedRegionsTest, CallersAtOnceShareOneRegistration) {
  SharedRegions regions = Regions(Transport::kAuto);
  const auto arena = MakeArena();
  std::latch asked(1);
  std::latch answer(1);
  server_.OnCall([&] {
    asked.count_down();
    answer.wait();
    return grpc::Status::OK;
  });
  std::atomic<int> shared = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back(
        [&] { shared += *regions.Prepare(0, arena, Soon(), start_) == Way::kShared; });
  }
  asked.wait();
  // One that has no time goes inline rather than wait.
  EXPECT_EQ(*regions.Prepare(0, arena, Deadline::After(milliseconds(1)), start_), Way::kInline);
  answer.count_down();
  threads.clear();
  EXPECT_EQ(shared, 6);
  EXPECT_EQ(server_.register_calls, 1);
}

TEST_F(SharedRegionsTest, InlineAsksNobody) {
  SharedRegions regions = Regions(Transport::kInline);
  EXPECT_EQ(*regions.Prepare(0, MakeArena(), Soon(), start_), Way::kInline);
  EXPECT_EQ(server_.register_calls, 0);
}

TEST_F(SharedRegionsTest, AServerThatRefusesIsAskedAgainAfterAMinute) {
  for (const auto code :
       {grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::INTERNAL,
        grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::PERMISSION_DENIED}) {
    SharedRegions regions = Regions(Transport::kAuto);
    server_.register_calls = 0;
    server_.OnCall([code] { return grpc::Status(code, "no"); });
    EXPECT_EQ(*regions.Prepare(0, MakeArena(), Soon(), start_), Way::kInline);
    server_.OnCall([] { return grpc::Status::OK; });
    EXPECT_EQ(*regions.Prepare(0, MakeArena(), Soon(), start_ + seconds(59)), Way::kInline);
    EXPECT_EQ(server_.register_calls, 1);
    EXPECT_EQ(*regions.Prepare(1, MakeArena(), Soon(), start_), Way::kShared) << "the other one";
    EXPECT_EQ(*regions.Prepare(0, MakeArena(), Soon(), start_ + seconds(65)), Way::kShared);
    EXPECT_EQ(server_.register_calls, 2);
  }
}

TEST_F(SharedRegionsTest, AServerThatRefusesIsAskedAgainWhenItMayBeAnother) {
  int refused = 0;
  SharedRegions regions(Transport::kAuto, {{"first", &calls_}, {"second", &other_calls_}},
                        [&refused] { ++refused; });
  const auto arena = MakeArena();
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "is off"); });
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kInline);
    EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kInline);
    EXPECT_EQ(server_.register_calls, i);
    EXPECT_EQ(refused, i);
    EXPECT_EQ(regions.Refusing(start_), std::vector<std::size_t>{0});
    regions.Reconnected(0);
    EXPECT_THAT(regions.Refusing(start_), IsEmpty());
  }
  server_.OnCall([] { return grpc::Status::OK; });
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
  EXPECT_EQ(*regions.Prepare(0, MakeArena(), Soon(), start_), Way::kShared);
  EXPECT_THAT(regions.Refusing(start_), IsEmpty());
}

TEST_F(SharedRegionsTest, WhereSharedMemoryIsAMustARefusalSaysWhatToDo) {
  SharedRegions regions = Regions(Transport::kShm);
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "is off"); });
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = regions.Prepare(0, MakeArena(), Soon(), start_).status();
    EXPECT_TRUE(absl::IsUnavailable(status));
    EXPECT_TRUE(IsNotSetUp(status));
    EXPECT_THAT(std::string(Message(status)), HasSubstr("first takes no shared memory"));
    EXPECT_THAT(std::string(Message(status)), HasSubstr("is off"));
    EXPECT_THAT(std::string(Message(status)), HasSubstr("backend.transport"));
  }
}

TEST_F(SharedRegionsTest, AServerThatIsAwayIsAskedAgainAfterAPause) {
  SharedRegions regions = Regions(Transport::kAuto);
  SharedRegions strict = Regions(Transport::kShm);
  const auto arena = MakeArena();
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "away"); });
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kInline);
  EXPECT_TRUE(absl::IsUnavailable(strict.Prepare(0, arena, Soon(), start_).status()));
  EXPECT_EQ(server_.register_calls, 2);
  server_.OnCall([] { return grpc::Status::OK; });
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_ + milliseconds(999)), Way::kInline);
  EXPECT_TRUE(absl::IsUnavailable(strict.Prepare(0, arena, Soon(), start_).status()));
  EXPECT_EQ(server_.register_calls, 2);
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_ + seconds(2)), Way::kShared);
}

TEST_F(SharedRegionsTest, ATargetThatIsNotToBeAskedYetIsNotForNowButForArenasThatItKnows) {
  for (const auto code : {grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::UNAVAILABLE,
                          grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    SharedRegions regions = Regions(Transport::kShm);
    const auto known = MakeArena();
    const auto arena = MakeArena();
    EXPECT_THAT(regions.NotNow(arena->name(), start_), IsEmpty()) << "nobody was asked";
    ASSERT_EQ(*regions.Prepare(0, known, Soon(), start_), Way::kShared);
    server_.OnCall([code] { return grpc::Status(code, "no"); });
    EXPECT_FALSE(regions.Prepare(0, arena, Soon(), start_).ok());
    EXPECT_EQ(regions.NotNow(arena->name(), start_), std::vector<std::size_t>{0});
    EXPECT_THAT(regions.NotNow(known->name(), start_), IsEmpty());
    EXPECT_THAT(regions.NotNow(arena->name(), start_ + std::chrono::minutes(2)), IsEmpty());
    server_.OnCall([] { return grpc::Status::OK; });
  }
}

// As one of several servers behind one name does.
TEST_F(SharedRegionsTest, AServerThatForgetsIsGivenARest) {
  SharedRegions regions = Regions(Transport::kAuto);
  const auto arena = MakeArena();
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
  regions.Forget(0, arena->name());
  regions.Rest(0, start_);
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_ + seconds(29)), Way::kInline);
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_ + seconds(30)), Way::kShared);
}

TEST_F(SharedRegionsTest, ASlowServerHoldsNobodyPastTheDeadlineAndWasAskedAfterAll) {
  SharedRegions regions = Regions(Transport::kAuto);
  const auto arena = MakeArena();
  std::latch answer(1);
  server_.OnCall([&] {
    answer.wait();
    return grpc::Status::OK;
  });
  EXPECT_EQ(*regions.Prepare(0, arena, Deadline::After(milliseconds(20)), start_), Way::kInline);
  answer.count_down();
  while (server_.regions().empty()) std::this_thread::yield();
  // The answer was lost: ALREADY_EXISTS now. No pause: the caller was short of time, not the
  // server.
  EXPECT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
}

TEST_F(SharedRegionsTest, ATensorGoesAndComesByReferenceAlsoAfterARestart) {
  SharedRegions regions = Regions(Transport::kShm);
  const auto arena = MakeArena();
  const auto lease = std::make_shared<Lease>(arena->Allocate(2000));
  std::memset(lease->bytes().data(), 'a', 1000);
  inference::ModelInferRequest request;
  auto& input = *request.add_inputs();
  input.set_name("in");
  input.set_datatype("UINT8");
  input.add_shape(1000);
  PutInSharedMemory(*lease, 0, 1000, *input.mutable_parameters());
  auto& output = *request.add_outputs();
  output.set_name("out");
  PutInSharedMemory(*lease, 1000, 1000, *output.mutable_parameters());

  const auto infer = [&]() -> absl::StatusOr<InferAnswer> {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::ByteBuffer message = *Encode(request, {});
    grpc::ByteBuffer answer;
    grpc::Status status;
    auto call = stub.PrepareUnaryCall(&context, "/inference.GRPCInferenceService/ModelInfer",
                                      message, &queue);
    call->StartCall();
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    if (!status.ok()) {
      return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                          status.error_message());
    }
    return Decode(answer, {{.name = "out", .lease = lease, .offset = 1000, .bytes = 1000}});
  };

  ASSERT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
  const auto answer = infer();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->Find("out")->data.data(), lease->bytes().data() + 1000);
  for (const std::byte byte : answer->Find("out")->data) ASSERT_EQ(byte, std::byte{'b'});

  server_.ForgetAll();
  const auto failed = infer();
  EXPECT_TRUE(IsRegionUnknown(failed.status())) << failed.status();
  regions.Forget(0, arena->name());
  ASSERT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
  EXPECT_TRUE(infer().ok());
}

TEST_F(SharedRegionsTest, AProbeSaysWhetherAServerTakesSharedMemoryAndLeavesNothing) {
  SharedMemoryProbe probe(calls_, folder_.domain());
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(probe.Ask().ok());
  EXPECT_EQ(server_.register_calls, 2);
  EXPECT_THAT(server_.regions(), IsEmpty());
  server_.OnCall([] { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "is off"); });
  EXPECT_TRUE(absl::IsUnimplemented(probe.Ask()));
  EXPECT_THAT(folder_.Names(), IsEmpty());

  // A server that was too slow is told of the same segment once more.
  std::latch answer(1);
  server_.OnCall([&] {
    answer.wait();
    return grpc::Status::OK;
  });
  EXPECT_TRUE(absl::IsDeadlineExceeded(probe.Ask()));
  EXPECT_EQ(folder_.Names().size(), 1U);
  answer.count_down();
  while (server_.regions().empty()) std::this_thread::yield();
  EXPECT_TRUE(probe.Ask().ok());
  EXPECT_THAT(server_.regions(), IsEmpty());
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

TEST_F(SharedRegionsTest, AProbeIsAsPatientAsAWorkerAndEndsWhenItIsStopped) {
  SharedMemoryProbe probe(calls_, folder_.domain());
  std::atomic<bool> called = false;
  server_.OnCall([&] {
    called = true;
    std::this_thread::sleep_for(milliseconds(700));
    return grpc::Status::OK;
  });
  EXPECT_EQ(*Regions(Transport::kShm).Prepare(0, MakeArena(), Soon(), start_), Way::kShared);
  EXPECT_TRUE(probe.Ask().ok());

  called = false;
  std::stop_source stop;
  std::jthread stopper([&] {
    while (!called) std::this_thread::yield();
    stop.request_stop();
  });
  const TimePoint begin = Clock::now();
  EXPECT_TRUE(absl::IsCancelled(probe.Ask(stop.get_token())));
  EXPECT_LT(Clock::now() - begin, milliseconds(600));
}

TEST(IsRegionUnknownTest, TellsItFromOtherErrors) {
  constexpr const char* kText = "ModelInfer: Unable to find shared memory region: 'x'";
  EXPECT_TRUE(IsRegionUnknown(absl::NotFoundError(kText)));
  EXPECT_TRUE(IsRegionUnknown(absl::InvalidArgumentError(kText)));
  EXPECT_FALSE(IsRegionUnknown(absl::InternalError(kText)));
  EXPECT_FALSE(IsRegionUnknown(absl::NotFoundError("Request for unknown model: 'x'")));
  EXPECT_FALSE(IsRegionUnknown(absl::OkStatus()));
}

TEST_F(SharedRegionsTest, ThousandArenasLeaveNothingBehind) {
  SharedRegions regions = Regions(Transport::kAuto);
  for (int i = 0; i < 1000; ++i) {
    const auto arena = MakeArena();
    ASSERT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
    ASSERT_EQ(*regions.Prepare(1, arena, Soon(), start_), Way::kShared);
    if (i % 100 == 0) Sweep(regions);
  }
  Sweep(regions);
  EXPECT_THAT(folder_.Names(), IsEmpty());
  EXPECT_THAT(server_.regions(), IsEmpty());
  EXPECT_THAT(other_.regions(), IsEmpty());
}

TEST_F(SharedRegionsTest, TheSweepWaitsForAServerThatHangsButNotForOneThatIsAway) {
  SharedRegions regions = Regions(Transport::kAuto);
  {
    const auto arena = MakeArena();
    ASSERT_EQ(*regions.Prepare(0, arena, Soon(), start_), Way::kShared);
    ASSERT_EQ(*regions.Prepare(1, arena, Soon(), start_), Way::kShared);
  }
  std::latch answer(1);
  server_.OnCall([&] {
    answer.wait();
    return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
  });
  EXPECT_EQ(Sweep(regions, milliseconds(200)).left, 1);
  EXPECT_THAT(other_.regions(), IsEmpty()) << "has its share of the time";
  EXPECT_EQ(folder_.Names().size(), 1U);
  answer.count_down();
  server_.Stop();
  EXPECT_EQ(Sweep(regions).removed, 1);
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

}  // namespace
}  // namespace inferpool::backend
