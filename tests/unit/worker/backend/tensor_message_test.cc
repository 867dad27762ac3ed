// The wire messages that are written and read by hand, against protobuf's own.
#include "worker/backend/tensor_message.h"

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "tests/unit/worker/backend/shm/shared_memory_folder.h"

namespace inferpool::backend {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::ElementsAre;
using testing::HasSubstr;

std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string Joined(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

// `text` in pieces of `piece` bytes.
grpc::ByteBuffer InPieces(const std::string& text, std::size_t piece) {
  std::vector<grpc::Slice> slices;
  for (std::size_t i = 0; i < text.size(); i += piece) slices.emplace_back(text.substr(i, piece));
  return {slices.data(), slices.size()};
}

RawInput Owned(std::string text) {
  const auto owner = std::make_shared<const std::string>(std::move(text));
  return {std::as_bytes(std::span(owner->data(), owner->size())), owner};
}

inference::ModelInferRequest Request() {
  inference::ModelInferRequest request;
  request.set_model_name("faces");
  request.set_id("7");
  auto& input = *request.add_inputs();
  input.set_name("image");
  input.set_datatype("UINT8");
  input.add_shape(-1);
  request.add_outputs()->set_name("boxes");
  return request;
}

void AddOutput(inference::ModelInferResponse& response, const std::string& name,
               inference::DataType datatype, std::vector<std::int64_t> shape,
               const std::string& data) {
  AddRawOutput(response, name, datatype, shape) = data;
}

inference::ModelInferResponse Response() {
  inference::ModelInferResponse response;
  response.set_model_name("faces");
  response.set_model_version("3");
  (*response.mutable_parameters())["sequence"].set_int64_param(1);
  AddOutput(response, "scores", inference::TYPE_FP32, {2, 3}, std::string(24, 's'));
  AddOutput(response, "labels", inference::TYPE_STRING, {2}, std::string("\1\0\0\0a\0\0\0\0", 9));
  AddOutput(response, "none", inference::TYPE_INT64, {0}, "");
  AddOutput(response, "large", inference::TYPE_UINT8, {10'000}, std::string(10'000, 'l'));
  return response;
}

// ---- Encode

TEST(EncodeTest, IsWhatProtobufReads) {
  for (const std::size_t bytes : {0U, 1U, 127U, 128U, 512U, 513U, 100'000U}) {
    const RawInput raw[] = {Owned(std::string(bytes, 'a')), Owned("short"),
                            Owned(std::string(bytes, 'b'))};
    const auto buffer = Encode(Request(), raw);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    inference::ModelInferRequest expected = Request();
    for (const RawInput& entry : raw) expected.add_raw_input_contents(Text(entry.data));
    inference::ModelInferRequest request;
    ASSERT_TRUE(request.ParseFromString(Joined(*buffer)));
    EXPECT_TRUE(MessageDifferencer::Equals(request, expected));
  }
}

TEST(EncodeTest, NoTensorsAndNothingAtAllAreMessagesToo) {
  inference::ModelInferRequest request;
  ASSERT_TRUE(request.ParseFromString(Joined(*Encode(Request(), {}))));
  EXPECT_TRUE(MessageDifferencer::Equals(request, Request()));
  EXPECT_EQ(Joined(*Encode({}, {})), "");
}

TEST(EncodeTest, SendsTheTensorFromWhereItLiesAndKeepsItsOwnerUntilGrpcIsDone) {
  RawInput raw = Owned(std::string(10'000, 'x'));
  const std::weak_ptr<const void> owner = raw.owner;
  const std::byte* data = raw.data.data();
  std::vector<grpc::Slice> slices;
  {
    auto buffer = Encode(Request(), std::span(&raw, 1));
    ASSERT_TRUE(buffer.ok());
    raw.owner.reset();
    ASSERT_TRUE(buffer->Dump(&slices).ok());
  }
  ASSERT_EQ(slices.size(), 2U);
  EXPECT_EQ(static_cast<const void*>(slices[1].begin()), data);
  EXPECT_FALSE(owner.expired());
  slices.clear();
  EXPECT_TRUE(owner.expired());
}

TEST(EncodeTest, RefusesMoreThanProtobufCanRead) {
  const auto byte = std::make_shared<std::byte>();
  // Never read: only the length counts.
  const RawInput raw[] = {{{byte.get(), std::size_t{1} << 31}, byte}};
  EXPECT_EQ(Encode(Request(), raw).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(EncodeTest, ATensorInSharedMemoryIsThreeParameters) {
  const test::SharedMemoryFolder folder;
  const auto arena = *Arena::Create(folder.domain(), 4096);
  const Lease first = arena->Allocate(64);
  const Lease lease = arena->Allocate(640);
  inference::ModelInferRequest request = Request();
  PutInSharedMemory(lease, 128, 100, *request.mutable_inputs(0)->mutable_parameters());
  const auto& parameters = request.inputs(0).parameters();
  EXPECT_EQ(parameters.at("shared_memory_region").string_param(), arena->name());
  EXPECT_EQ(parameters.at("shared_memory_byte_size").int64_param(), 100);
  EXPECT_EQ(parameters.at("shared_memory_offset").int64_param(), 64 + 128);
}

// ---- Decode

TEST(DecodeTest, HoweverItIsCutTheAnswerIsTheSame) {
  const std::string text = Response().SerializeAsString();
  for (const std::size_t piece : {1U, 2U, 3U, 23U, 24U, 1000U, 8192U, 100'000U}) {
    const auto answer = Decode(InPieces(text, piece), {});
    ASSERT_TRUE(answer.ok()) << answer.status() << " " << piece;
    EXPECT_EQ(answer->message().model_version(), "3");
    EXPECT_EQ(answer->message().parameters().at("sequence").int64_param(), 1);
    ASSERT_EQ(answer->tensors().size(), 4U);
    EXPECT_THAT(answer->Find("scores")->shape, ElementsAre(2, 3));
    EXPECT_EQ(Text(answer->Find("scores")->data), std::string(24, 's'));
    EXPECT_TRUE(Elements<float>(*answer->Find("scores")).ok()) << "aligned";
    EXPECT_EQ(DecodeBytes(answer->Find("labels")->data, 2)->at(0), "a");
    EXPECT_EQ(answer->Find("none")->data.size(), 0U);
    EXPECT_EQ(Text(answer->Find("large")->data), std::string(10'000, 'l'));
    EXPECT_EQ(answer->Find("other"), nullptr);
  }
}

TEST(DecodeTest, ViewsOutliveTheBufferAndTheAnswersMove) {
  auto buffer = std::make_unique<grpc::ByteBuffer>(InPieces(Response().SerializeAsString(), 23));
  auto answer = Decode(*buffer, {});
  ASSERT_TRUE(answer.ok());
  buffer.reset();
  const InferAnswer moved = *std::move(answer);
  EXPECT_EQ(moved.tensors()[3].name, "large");
  EXPECT_EQ(Text(moved.tensors()[3].data), std::string(10'000, 'l'));
}

TEST(DecodeTest, ALargeTensorInOneAlignedPieceIsNotCopied) {
  inference::ModelInferResponse response;
  AddOutput(response, "large", inference::TYPE_UINT8, {10'000}, std::string(10'000, 'l'));
  const std::string text = response.SerializeAsString();
  const std::size_t begin = text.find("lllll");  // the name is shorter
  // In memory of ours, since gRPC may copy to any address.
  std::vector<std::uint64_t> memory(text.size() / sizeof(std::uint64_t) + 2);
  const auto in_place = [&](std::size_t offset) {
    char* const there = reinterpret_cast<char*>(memory.data()) + offset;
    text.copy(there, text.size() - begin, begin);
    const std::vector<grpc::Slice> slices = {
        grpc::Slice(text.substr(0, begin)),
        grpc::Slice(there, text.size() - begin, grpc::Slice::STATIC_SLICE)};
    const auto answer = Decode(grpc::ByteBuffer(slices.data(), slices.size()), {});
    EXPECT_TRUE(answer.ok()) << answer.status();
    if (!answer.ok()) return false;
    const InferAnswer& held = *answer;
    EXPECT_EQ(Text(held.Find("large")->data), std::string(10'000, 'l'));
    return static_cast<const void*>(held.Find("large")->data.data()) == there;
  };
  EXPECT_TRUE(in_place(0));
  EXPECT_FALSE(in_place(1)) << "nobody could read it as numbers";
}

TEST(DecodeTest, TypedContentsAreReadToo) {
  inference::ModelInferResponse response;
  auto& output = *response.add_outputs();
  output.set_name("count");
  output.set_datatype("INT8");
  output.add_shape(2);
  output.mutable_contents()->add_int_contents(1);
  output.mutable_contents()->add_int_contents(-1);
  const auto answer = Decode(InPieces(response.SerializeAsString(), 5), {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  const InferAnswer& held = *answer;
  EXPECT_EQ(Text(held.Find("count")->data), "\x01\xff");
}

TEST(DecodeTest, FieldsOfALaterProtocolAreSkipped) {
  const std::string later = std::string("\xf8\x07\x05", 3) + "\xf9\x07" + "12345678" + "\xfd\x07" +
                            "1234" + "\xfa\x07\x02" + "hi";
  const auto answer = Decode(InPieces(later + Response().SerializeAsString() + later, 7), {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->tensors().size(), 4U);
}

TEST(DecodeTest, EmptyContentsBesideRawOnesAreNone) {
  inference::ModelInferResponse response = Response();
  for (auto& output : *response.mutable_outputs()) output.mutable_contents();
  EXPECT_TRUE(Decode(InPieces(response.SerializeAsString(), 100), {}).ok()) << "MLServer does so";
}

TEST(DecodeTest, WhatDoesNotFitTogetherIsAnError) {
  const auto error = [](auto&& change) {
    inference::ModelInferResponse response = Response();
    change(response);
    const auto answer = Decode(InPieces(response.SerializeAsString(), 100), {});
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(Message(answer.status()));
  };
  EXPECT_EQ(error([](auto& response) { response.mutable_raw_output_contents(0)->pop_back(); }),
            "output 'scores': FP32 of shape [2,3] takes 24 bytes, there are 23");
  EXPECT_EQ(error([](auto& response) { response.add_raw_output_contents(); }),
            "5 raw contents for 4 outputs");
  EXPECT_EQ(error([](auto& response) { response.mutable_raw_output_contents()->RemoveLast(); }),
            "3 raw contents for 4 outputs");
  EXPECT_EQ(error([](auto& response) { response.mutable_outputs(1)->set_name("scores"); }),
            "output 'scores': it is given twice");
  EXPECT_EQ(error([](auto& response) { response.mutable_outputs(0)->set_datatype("FP31"); }),
            "output 'scores': unknown datatype 'FP31'");
  EXPECT_EQ(error([](auto& response) {
              response.mutable_outputs(0)->mutable_contents()->add_fp32_contents(1);
            }),
            "output 'scores': contents together with raw contents");
  EXPECT_THAT(error([](auto& response) { response.mutable_outputs(0)->set_shape(0, -2); }),
              HasSubstr("negative dimension"));
  EXPECT_THAT(error([](auto& response) {
                response.mutable_outputs(0)->set_shape(0, std::int64_t{1} << 62);
              }),
              HasSubstr("too large"));
  EXPECT_THAT(error([](auto& response) { *response.mutable_raw_output_contents(1) = "\xff"; }),
              HasSubstr("cannot hold 2 BYTES"));
  EXPECT_THAT(error([](auto& response) {
                (*response.mutable_outputs(0)->mutable_parameters())["shared_memory_region"];
              }),
              HasSubstr("not asked for"));
  EXPECT_THAT(error([](auto& response) {
                for (int i = 0; i < 5000; ++i) response.add_raw_output_contents();
              }),
              HasSubstr("too many"));
}

TEST(DecodeTest, EveryTruncationIsAnError) {
  inference::ModelInferResponse response = Response();
  response.mutable_outputs()->RemoveLast();
  response.mutable_raw_output_contents()->RemoveLast();
  const std::string text = response.SerializeAsString();
  for (std::size_t bytes = 1; bytes < text.size(); ++bytes) {
    const auto answer = Decode(InPieces(text.substr(0, bytes), 10), {});
    // A cut between two fields can leave an answer without outputs, which is one.
    EXPECT_TRUE(!answer.ok() || answer->tensors().empty()) << bytes;
  }
}

// Whatever comes, it is an answer or an error; each byte of an answer's tensors can be read.
TEST(DecodeTest, NoBytesMakeItCrash) {
  inference::ModelInferResponse response = Response();
  response.mutable_outputs(3)->set_shape(0, 40);
  response.mutable_raw_output_contents(3)->resize(40);
  const std::string valid = response.SerializeAsString();
  const google::protobuf::LogSilencer silence;
  std::mt19937 random(1);
  int answers = 0;
  std::size_t sum = 0;
  for (int i = 0; i < 40'000; ++i) {
    std::string text = valid;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text[at] = static_cast<char>(text[at] ^ (1 << random() % 8));
          break;
        case 2:
          text.erase(at, random() % 20);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 20));
      }
      if (text.empty()) text = valid;
    }
    const auto answer = Decode(InPieces(text, 1 + random() % text.size()), {});
    if (!answer.ok()) continue;
    ++answers;
    for (const TensorView& tensor : answer->tensors()) {
      for (const std::byte byte : tensor.data) sum += std::to_integer<std::size_t>(byte);
    }
  }
  EXPECT_GT(answers, 100) << "changed names are still answers";
  EXPECT_GT(sum, 0U);
}

// ---- Outputs in shared memory

class PlacedOutputTest : public testing::Test {
 protected:
  PlacedOutputTest() {
    std::memset(lease_->bytes().data(), 'm', lease_->bytes().size());
    response_.set_model_version("1");
    auto& output = *response_.add_outputs();
    output.set_name("head");
    output.set_datatype("FP32");
    output.add_shape(1);
    output.add_shape(25);
  }

  absl::StatusOr<InferAnswer> Read() {
    return Decode(InPieces(response_.SerializeAsString(), 50),
                  {{.name = "head", .lease = lease_, .offset = 64, .bytes = 100}});
  }

  const test::SharedMemoryFolder folder_;
  const std::shared_ptr<Arena> arena_ = *Arena::Create(folder_.domain(), 4096);
  std::shared_ptr<Lease> lease_ = std::make_shared<Lease>(arena_->Allocate(512));
  inference::ModelInferResponse response_;
};

TEST_F(PlacedOutputTest, IsAViewOfTheArenaWithAndWithoutAnEmptyRawEntry) {
  for (int entries = 0; entries < 2; ++entries) {
    const auto answer = Read();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->Find("head")->data.data(), lease_->bytes().data() + 64);
    EXPECT_EQ(answer->Find("head")->data.size(), 100U);
    response_.add_raw_output_contents();
  }
}

TEST_F(PlacedOutputTest, StandsNextToRawOnes) {
  AddOutput(response_, "count", inference::TYPE_INT32, {1}, "1234");
  EXPECT_EQ(Text(Read()->Find("count")->data), "1234") << "no entry for the one in its place";
  response_.mutable_raw_output_contents(0)->clear();
  response_.add_raw_output_contents("1234");
  const auto answer = Read();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Text(answer->Find("count")->data), "1234");
  EXPECT_EQ(answer->Find("head")->data.data(), lease_->bytes().data() + 64);
}

TEST_F(PlacedOutputTest, IsTakenAsRawContentsWhenTheServerSentItSo) {
  response_.add_raw_output_contents(std::string(100, 'r'));
  const auto answer = Read();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Text(answer->Find("head")->data), std::string(100, 'r'));
}

TEST_F(PlacedOutputTest, MayBeSmallerThanItsPlaceButNotLarger) {
  response_.mutable_outputs(0)->set_shape(1, 24);
  EXPECT_EQ(Read()->Find("head")->data.size(), 96U);
  response_.mutable_outputs(0)->set_shape(1, 26);
  EXPECT_EQ(Message(Read().status()),
            "output 'head': FP32 of shape [1,26] takes 104 bytes, it was given 100");
  response_.mutable_outputs(0)->set_datatype("BYTES");
  EXPECT_EQ(Read().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PlacedOutputTest, IsKeptByTheAnswer) {
  std::weak_ptr<Lease> lease = lease_;
  {
    const auto answer = Read();
    lease_.reset();
    EXPECT_FALSE(lease.expired());
  }
  EXPECT_TRUE(lease.expired());
}

// ---- Rows

TEST(RowOfTest, IsTheRowsShareOfTheBytes) {
  const auto answer = InferAnswer::FromMessage(Response());
  ASSERT_TRUE(answer.ok());
  const TensorView& scores = *answer->Find("scores");
  EXPECT_EQ(RowOf(scores, 2, 0)->data(), scores.data.data());
  EXPECT_EQ(RowOf(scores, 2, 1)->data(), scores.data.data() + 12);
  EXPECT_EQ(RowOf(scores, 2, 1)->size(), 12U);
  EXPECT_FALSE(RowOf(scores, 3, 0).ok());
  EXPECT_FALSE(RowOf(scores, 2, 2).ok());
  EXPECT_FALSE(RowOf(*answer->Find("labels"), 2, 0).ok());
}

}  // namespace
}  // namespace inferpool::backend
