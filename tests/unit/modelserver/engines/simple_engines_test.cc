// Backends identity and add_sub, as models.
#include <gtest/gtest.h>

#include <limits>

#include "modelserver/engines/identity.h"
#include "tests/unit/modelserver/config/configured.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

TEST(Identity, GivesBackEveryDatatypeInAnyShape) {
  for (int number = inference::TYPE_BOOL; number <= inference::TYPE_BF16; ++number) {
    const auto datatype = static_cast<inference::DataType>(number);
    auto model = LoadConfigured("backend: 'identity' input { name: 'INPUT0' data_type: " +
                                DataType_Name(datatype) + " dims: [ -1, -1 ] }");
    ASSERT_TRUE(model.ok()) << model.status();
    for (const Shape& shape : {Shape{2, 3}, Shape{0, 3}, Shape{1, 1}}) {
      const auto count = static_cast<std::size_t>(shape[0] * shape[1]);
      const std::string raw = datatype == inference::TYPE_STRING
                                  ? RawTexts(std::vector<std::string>(count, "a text"))
                                  : std::string(count * ElementSize(datatype), '\1');
      inference::ModelInferRequest request;
      AddInput(request, "INPUT0", datatype, shape, raw);
      const auto outputs = Infer(**model, request);
      ASSERT_TRUE(outputs.ok()) << outputs.status();
      ASSERT_EQ(outputs->size(), 1U);
      EXPECT_EQ((*outputs)[0].name, "OUTPUT0");
      EXPECT_EQ((*outputs)[0].datatype, datatype);
      EXPECT_EQ((*outputs)[0].shape, shape);
      EXPECT_EQ((*outputs)[0].data, raw);
    }
  }
}

TEST(Identity, PairsInputsWithOutputsInTheirOrder) {
  auto model = LoadConfigured(R"(backend: "identity" max_batch_size: 2
      input [ { name: "a" data_type: TYPE_INT32 dims: [ 1 ] },
              { name: "b" data_type: TYPE_FP16 dims: [ 2 ] } ]
      output [ { name: "p" data_type: TYPE_INT32 dims: [ 1 ] },
               { name: "q" data_type: TYPE_FP16 dims: [ -1 ] } ])");
  ASSERT_TRUE(model.ok()) << model.status();
  inference::ModelInferRequest request;
  AddInput(request, "b", inference::TYPE_FP16, {2, 2}, "abcdefgh");
  AddInput(request, "a", inference::TYPE_INT32, {2, 1}, "12345678");
  const auto outputs = Infer(**model, request, {"q", "p"});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].data, "abcdefgh");
  EXPECT_EQ((*outputs)[1].data, "12345678");
}

TEST(Identity, RefusesOutputsThatAreNotItsInputs) {
  const auto fails = [](const std::string& outputs) {
    return absl::IsInvalidArgument(
        LoadConfigured(
            "backend: 'identity' input { name: 'a' data_type: TYPE_INT32 dims: [ 2 ] } " + outputs)
            .status());
  };
  EXPECT_TRUE(fails("output { name: 'p' data_type: TYPE_FP32 dims: [ 2 ] }"));
  EXPECT_TRUE(fails("output { name: 'p' data_type: TYPE_INT32 dims: [ 3 ] }"));
  EXPECT_TRUE(
      fails("output [ { name: 'p' data_type: TYPE_INT32 dims: [ 2 ] },"
            "         { name: 'q' data_type: TYPE_INT32 dims: [ 2 ] } ]"));
  EXPECT_TRUE(fails("parameters { key: 'execute_delay_ms' value { string_value: '-1' } }"));
  EXPECT_TRUE(absl::IsInvalidArgument(LoadConfigured("backend: 'identity'").status()));
}

TEST(Identity, DelaysAnExecutionOnceHoweverManyRequestsItHas) {
  constexpr int kRequests = 20;
  const inference::ModelConfig config = Config(R"(backend: "identity" max_batch_size: 32
      input { name: "a" data_type: TYPE_INT8 dims: [ 1 ] }
      output { name: "b" data_type: TYPE_INT8 dims: [ 1 ] }
      parameters { key: "execute_delay_ms" value { string_value: "40" } })");
  auto engine = MakeIdentityEngine(config);
  ASSERT_TRUE(engine.ok());
  const Shape shape{1, 1};
  const std::string byte = "x";
  const TensorView input{.name = "a",
                         .datatype = inference::TYPE_INT8,
                         .shape = shape,
                         .data = std::as_bytes(std::span(byte))};
  std::vector<Outputs> outputs(kRequests, Outputs(config));
  std::vector<Execution> batch;
  for (Outputs& output : outputs) {
    output.Want(0);
    batch.push_back({.inputs = {&input, 1}, .outputs = &output, .status = {}});
  }
  const TimePoint start = Clock::now();
  (*engine)->Run(batch);
  const auto took = Clock::now() - start;
  EXPECT_GE(took, std::chrono::milliseconds(40));
  EXPECT_LT(took, std::chrono::milliseconds(40) * kRequests);
  for (const Execution& execution : batch) EXPECT_TRUE(execution.status.ok());
}

template <typename T>
absl::StatusOr<std::vector<OutputTensor>> AddSub(inference::DataType datatype,
                                                 const std::vector<T>& a, const std::vector<T>& b) {
  auto model = LoadConfigured(
      "backend: 'add_sub' input [ { name: 'INPUT0' data_type: " + DataType_Name(datatype) +
      " dims: [ -1 ] }, { name: 'INPUT1' data_type: " + DataType_Name(datatype) +
      " dims: [ -1 ] } ]");
  RETURN_IF_ERROR(model.status());
  inference::ModelInferRequest request;
  const auto raw = [](const std::vector<T>& values) {
    if constexpr (std::is_same_v<T, std::string>) {
      return RawTexts(values);
    } else {
      return Raw(values);
    }
  };
  AddInput(request, "INPUT0", datatype, {static_cast<std::int64_t>(a.size())}, raw(a));
  AddInput(request, "INPUT1", datatype, {static_cast<std::int64_t>(b.size())}, raw(b));
  return Infer(**model, request);
}

template <typename T>
void ExpectSums(inference::DataType datatype) {
  const auto outputs = AddSub<T>(datatype, {7, 1, 100}, {3, 1, 20});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].name, "OUTPUT0");
  EXPECT_EQ(Values<T>((*outputs)[0]), (std::vector<T>{10, 2, 120}));
  EXPECT_EQ((*outputs)[1].name, "OUTPUT1");
  EXPECT_EQ(Values<T>((*outputs)[1]), (std::vector<T>{4, 0, 80}));
}

TEST(AddSub, AddsAndSubtractsNumbers) {
  ExpectSums<std::int8_t>(inference::TYPE_INT8);
  ExpectSums<std::int16_t>(inference::TYPE_INT16);
  ExpectSums<std::int32_t>(inference::TYPE_INT32);
  ExpectSums<std::int64_t>(inference::TYPE_INT64);
  ExpectSums<std::uint8_t>(inference::TYPE_UINT8);
  ExpectSums<std::uint16_t>(inference::TYPE_UINT16);
  ExpectSums<std::uint32_t>(inference::TYPE_UINT32);
  ExpectSums<std::uint64_t>(inference::TYPE_UINT64);
  ExpectSums<float>(inference::TYPE_FP32);
  ExpectSums<double>(inference::TYPE_FP64);
}

TEST(AddSub, WrapsAroundWhereIntegersEnd) {
  constexpr auto kLeast = std::numeric_limits<std::int32_t>::min();
  constexpr auto kMost = std::numeric_limits<std::int32_t>::max();
  const auto outputs =
      AddSub<std::int32_t>(inference::TYPE_INT32, {kMost, kLeast, kMost}, {1, -1, kMost});
  ASSERT_TRUE(outputs.ok());
  EXPECT_EQ(Values<std::int32_t>((*outputs)[0]), (std::vector<std::int32_t>{kLeast, kMost, -2}));
  EXPECT_EQ(Values<std::int32_t>((*outputs)[1]),
            (std::vector<std::int32_t>{kMost - 1, kLeast + 1, 0}));
  const auto small = AddSub<std::uint8_t>(inference::TYPE_UINT8, {250, 1}, {10, 2});
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(Values<std::uint8_t>((*small)[0]), (std::vector<std::uint8_t>{4, 3}));
  EXPECT_EQ(Values<std::uint8_t>((*small)[1]), (std::vector<std::uint8_t>{240, 255}));
}

TEST(AddSub, AddsTextsThatAreIntegers) {
  const auto outputs = AddSub<std::string>(inference::TYPE_STRING, {"12", "-5", "0"},
                                           {"30", "5", "9223372036854775807"});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].data, RawTexts({"42", "0", "9223372036854775807"}));
  EXPECT_EQ((*outputs)[1].data, RawTexts({"-18", "-10", "-9223372036854775807"}));
  for (const char* text : {"", "x", "1x", " 1", "1.5", "9223372036854775808"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        AddSub<std::string>(inference::TYPE_STRING, {text}, {"1"}).status()))
        << text;
  }
}

TEST(AddSub, RefusesWhatItCannotAdd) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(AddSub<std::int32_t>(inference::TYPE_INT32, {1, 2}, {1}).status()));
  EXPECT_FALSE(AddSub<std::uint8_t>(inference::TYPE_BOOL, {1}, {1}).ok());
  EXPECT_FALSE(LoadConfigured("backend: 'add_sub'").ok());
  EXPECT_FALSE(
      LoadConfigured("backend: 'add_sub' input { name: 'a' data_type: TYPE_INT32 dims: [ 1 ] }")
          .ok());
}

}  // namespace
}  // namespace inferpool::modelserver
