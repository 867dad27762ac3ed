#include "worker/backend/infer_request.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/unit/worker/backend/shm/shared_memory_folder.h"

namespace inferpool::backend {
namespace {

using Way = SharedRegions::Way;

constexpr std::int64_t kRow[] = {100};

class InferRequestTest : public testing::Test {
 protected:
  InferRequestTest() {
    model_.description = {.name = "faces",
                          .version = "1",
                          .max_batch_size = 8,
                          .inputs = {{"in", "UINT8", {-1, 100}}},
                          .outputs = {{"boxes", "FP32", {-1, 50}}, {"names", "BYTES", {-1, 1}}},
                          .class_names = {},
                          .parameters = {}};
    vision::ModelPlan plan;
    plan.input_name = "in";
    plan.has_batch_dimension = true;
    plan.outputs = {"boxes", "names"};
    model_.plan = plan;
  }

  // Three rows, of which the last two are the call's.
  BatchInput Input(const std::shared_ptr<Lease>& memory) {
    std::memset(memory->bytes().data(), 'x', 300);
    return {.row_shape = kRow, .rows = 2, .memory = memory, .offset = 100, .bytes = 200};
  }

  inference::ModelInferRequest Parse(const absl::StatusOr<InferRequest>& request) {
    EXPECT_TRUE(request.ok()) << request.status();
    grpc::ByteBuffer copy(request->message);
    grpc::Slice slice;
    EXPECT_TRUE(copy.DumpToSingleSlice(&slice).ok());
    inference::ModelInferRequest message;
    EXPECT_TRUE(message.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    return message;
  }
  // The request's priority for that of a client; 0: it names none.
  std::uint64_t Sent(Priority priority) {
    const auto memory = std::make_shared<Lease>(Lease::OnHeap(300));
    const auto message = Parse(MakeInferRequest(model_, Input(memory), priority, Way::kInline));
    const auto found = message.parameters().find("priority");
    if (found == message.parameters().end()) return 0;
    return found->second.has_uint64_param()
               ? found->second.uint64_param()
               : static_cast<std::uint64_t>(found->second.int64_param());
  }

  Model model_{.description = {}, .plan = absl::UnknownError("")};
  const test::SharedMemoryFolder folder_;
};

TEST_F(InferRequestTest, InlineItHasTheRowsWhereTheyAre) {
  const auto memory = std::make_shared<Lease>(Lease::OnHeap(300));
  const auto request = MakeInferRequest(model_, Input(memory), Priority::kNormal, Way::kInline);
  const auto message = Parse(request);
  EXPECT_EQ(message.model_name(), "faces");
  ASSERT_EQ(message.inputs_size(), 1);
  EXPECT_EQ(message.inputs(0).name(), "in");
  EXPECT_EQ(std::vector(message.inputs(0).shape().begin(), message.inputs(0).shape().end()),
            (std::vector<std::int64_t>{2, 100}));
  EXPECT_TRUE(message.inputs(0).parameters().empty());
  ASSERT_EQ(message.raw_input_contents_size(), 1);
  EXPECT_EQ(message.raw_input_contents(0), std::string(200, 'x'));
  ASSERT_EQ(message.outputs_size(), 2);
  EXPECT_EQ(message.outputs(0).name(), "boxes");
  EXPECT_TRUE(message.outputs(0).parameters().empty());
  EXPECT_TRUE(request->places.empty());
  EXPECT_EQ(request->output_memory, nullptr);
}

TEST_F(InferRequestTest, BySharedMemoryItNamesThePlaces) {
  const auto arena = *Arena::Create(folder_.domain(), 4096);
  const auto memory = std::make_shared<Lease>(arena->Allocate(300));
  const auto request = MakeInferRequest(model_, Input(memory), Priority::kNormal, Way::kShared);
  const auto message = Parse(request);
  EXPECT_EQ(message.raw_input_contents_size(), 0);
  const auto& input = message.inputs(0).parameters();
  EXPECT_EQ(input.at("shared_memory_region").string_param(), arena->name());
  EXPECT_EQ(input.at("shared_memory_offset").int64_param(),
            static_cast<std::int64_t>(memory->offset()) + 100);
  EXPECT_EQ(input.at("shared_memory_byte_size").int64_param(), 200);
  ASSERT_EQ(request->places.size(), 1U) << "of BYTES nobody knows the size";
  EXPECT_EQ(request->places[0].name, "boxes");
  EXPECT_EQ(request->places[0].bytes, 2U * 50 * 4);
  EXPECT_EQ(request->places[0].lease, request->output_memory);
  EXPECT_EQ(message.outputs(0).parameters().at("shared_memory_offset").int64_param(),
            static_cast<std::int64_t>(request->output_memory->offset()));
  EXPECT_TRUE(message.outputs(1).parameters().empty());
}

TEST_F(InferRequestTest, OutputsThatFindNoRoomComeInTheAnswer) {
  const auto arena = *Arena::Create(folder_.domain(), 320);
  const auto memory = std::make_shared<Lease>(arena->Allocate(300));
  const auto request = MakeInferRequest(model_, Input(memory), Priority::kNormal, Way::kShared);
  EXPECT_TRUE(request->places.empty());
  EXPECT_EQ(request->output_memory, nullptr);
  EXPECT_TRUE(Parse(request).outputs(0).parameters().empty());
}

TEST_F(InferRequestTest, OutputsOfAnAbsurdSizeComeInTheAnswer) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 60;
  model_.description.outputs = {{"boxes", "FP32", {-1, kHuge}}, {"names", "FP32", {-1, kHuge}}};
  const auto arena = *Arena::Create(folder_.domain(), 4096);
  const auto memory = std::make_shared<Lease>(arena->Allocate(300));
  const auto request = MakeInferRequest(model_, Input(memory), Priority::kNormal, Way::kShared);
  EXPECT_TRUE(request->places.empty());
}

TEST_F(InferRequestTest, ThePriorityIsTheModelsLevelUnlessItIsTheDefault) {
  for (const Priority priority : {Priority::kHigh, Priority::kNormal, Priority::kLow}) {
    EXPECT_EQ(Sent(priority), 0) << "the model knows none";
  }
  model_.description.priority_levels = 5;
  model_.description.default_priority_level = 3;
  EXPECT_EQ(Sent(Priority::kHigh), 1);
  EXPECT_EQ(Sent(Priority::kNormal), 0);
  EXPECT_EQ(Sent(Priority::kLow), 5);
  model_.description.default_priority_level = 5;
  EXPECT_EQ(Sent(Priority::kLow), 0);
}

TEST_F(InferRequestTest, ALevelThatIsNoInt64IsSentAsUint64) {
  inference::ModelInferRequest message;
  const inference::InferParameter& parameter = (*message.mutable_parameters())["priority"];
  SetPriorityLevel(message, 0x7fff'ffff'ffff'ffff);
  EXPECT_EQ(parameter.int64_param(), 0x7fff'ffff'ffff'ffff);
  SetPriorityLevel(message, 0x8000'0000'0000'0000);
  EXPECT_FALSE(parameter.has_int64_param());
  EXPECT_EQ(parameter.uint64_param(), 0x8000'0000'0000'0000);
  model_.description.priority_levels = ~0ULL;
  model_.description.default_priority_level = 3;
  EXPECT_EQ(Sent(Priority::kLow), ~0ULL);
}

}  // namespace
}  // namespace inferpool::backend
