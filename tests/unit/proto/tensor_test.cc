#include "proto/tensor.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inferpool {
namespace {

using Shape = std::vector<std::int64_t>;

inference::ModelInferRequest::InferInputTensor& AddTyped(inference::ModelInferRequest& request,
                                                         const std::string& name,
                                                         const std::string& datatype,
                                                         const Shape& shape) {
  auto& input = *request.add_inputs();
  input.set_name(name);
  input.set_datatype(datatype);
  input.mutable_shape()->Add(shape.begin(), shape.end());
  return input;
}

testing::AssertionResult Rejected(const absl::Status& status, const std::string& part) {
  if (status.code() != absl::StatusCode::kInvalidArgument) {
    return testing::AssertionFailure() << "status " << status.ToString();
  }
  if (std::string(Message(status)).find(part) == std::string::npos) {
    return testing::AssertionFailure() << "'" << Message(status) << "' has no '" << part << "'";
  }
  return testing::AssertionSuccess();
}

TEST(Datatypes, EveryNameComesBack) {
  for (int i = inference::DataType_MIN + 1; i <= inference::DataType_MAX; ++i) {
    const auto datatype = static_cast<inference::DataType>(i);
    EXPECT_FALSE(DatatypeName(datatype).empty());
    EXPECT_EQ(ParseDatatype(DatatypeName(datatype)), datatype);
    EXPECT_EQ(ElementSize(datatype) == 0, datatype == inference::TYPE_STRING);
  }
}

TEST(Datatypes, KnowTheirWireNamesAndSizes) {
  EXPECT_EQ(DatatypeName(inference::TYPE_STRING), "BYTES");
  EXPECT_EQ(DatatypeName(inference::TYPE_BF16), "BF16");
  for (const auto& [size, names] :
       {std::pair<std::size_t, std::vector<std::string_view>>(1, {"BOOL", "UINT8", "INT8"}),
        {2, {"UINT16", "INT16", "FP16", "BF16"}},
        {4, {"UINT32", "INT32", "FP32"}},
        {8, {"UINT64", "INT64", "FP64"}}}) {
    for (const std::string_view name : names) {
      EXPECT_EQ(ElementSize(ParseDatatype(name)), size) << name;
    }
  }
}

TEST(Datatypes, ForeignNamesAndValuesAreInvalid) {
  EXPECT_EQ(ParseDatatype(""), inference::TYPE_INVALID);
  EXPECT_EQ(ParseDatatype("FLOAT"), inference::TYPE_INVALID);
  EXPECT_EQ(ParseDatatype("TYPE_FP32"), inference::TYPE_INVALID);
  EXPECT_EQ(DatatypeName(static_cast<inference::DataType>(99)), "");
  EXPECT_EQ(ElementSize(static_cast<inference::DataType>(-1)), 0U);
}

TEST(ElementCounts, MultiplyTheDimensions) {
  EXPECT_EQ(*ElementCount({}), 1);
  EXPECT_EQ(*ElementCount(Shape{2, 3, 4}), 24);
  EXPECT_EQ(*ElementCount(Shape{2, 0, 4}), 0);
}

TEST(ElementCounts, RejectNegativeAndOverflowingShapes) {
  EXPECT_TRUE(Rejected(ElementCount(Shape{2, -1}).status(), "[2,-1]"));
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_TRUE(Rejected(ElementCount(Shape{large, large}).status(), "too large"));
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_TRUE(Rejected(ByteSize(inference::TYPE_FP64, Shape{most}).status(), "too large"));
  EXPECT_EQ(*ByteSize(inference::TYPE_FP32, Shape{3, 320, 320}), 1228800U);
}

TEST(BytesElements, RoundTrip) {
  std::string raw;
  AppendBytesElement("one", raw);
  AppendBytesElement("", raw);
  AppendBytesElement(std::string(300, 'x'), raw);
  EXPECT_EQ(raw.substr(0, 7), std::string("\3\0\0\0one", 7));

  const auto elements = DecodeBytes(std::as_bytes(std::span(raw)), 3);
  ASSERT_TRUE(elements.ok());
  EXPECT_EQ((*elements)[0], "one");
  EXPECT_EQ((*elements)[1], "");
  EXPECT_EQ((*elements)[2].size(), 300U);
}

TEST(BytesElements, RejectLengthsThatDoNotFill) {
  std::string raw;
  AppendBytesElement("one", raw);
  const auto decode = [&](std::int64_t count) {
    return DecodeBytes(std::as_bytes(std::span(raw)), count).status();
  };
  EXPECT_TRUE(decode(1).ok());
  EXPECT_TRUE(Rejected(decode(0), "left"));
  EXPECT_TRUE(Rejected(decode(2), "cannot hold"));
  EXPECT_TRUE(Rejected(decode(-1), "cannot hold"));
  EXPECT_TRUE(Rejected(decode(std::numeric_limits<std::int64_t>::max()), "cannot hold"));
  raw.pop_back();
  EXPECT_TRUE(Rejected(decode(1), "says 3 bytes, 2 are left"));
  raw = std::string("\xff\xff\xff\xff", 4);
  EXPECT_TRUE(Rejected(decode(1), "are left"));
  raw = std::string("\0\0\0\0\1\0\0", 7) + "x";
  EXPECT_TRUE(Rejected(decode(2), "says"));
}

TEST(Requests, RawInputsAreReadWithoutACopy) {
  inference::ModelInferRequest request;
  const std::vector<float> values = {1.5F, -2.0F, 3.25F, 0.0F};
  std::string& raw = AddRawInput(request, "a", inference::TYPE_FP32, Shape{2, 2});
  raw.assign(reinterpret_cast<const char*>(values.data()), 16);
  AppendBytesElement("text", AddRawInput(request, "b", inference::TYPE_STRING, Shape{1}));

  const auto list = ReadInputs(request);
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->tensors().size(), 2U);
  const TensorView& a = list->tensors()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.datatype, inference::TYPE_FP32);
  EXPECT_EQ(Shape(a.shape.begin(), a.shape.end()), (Shape{2, 2}));
  EXPECT_EQ(static_cast<const void*>(a.data.data()), request.raw_input_contents(0).data());
  const auto elements = Elements<float>(a);
  ASSERT_TRUE(elements.ok());
  EXPECT_EQ(std::vector<float>(elements->begin(), elements->end()), values);
  EXPECT_FALSE(Elements<std::int32_t>(a).ok());
  EXPECT_EQ(list->Find("b"), &list->tensors()[1]);
  EXPECT_EQ(list->Find("c"), nullptr);
}

TEST(Requests, TypedInputsBecomeTheirRawBytes) {
  inference::ModelInferRequest request;
  AddTyped(request, "fp32", "FP32", {2}).mutable_contents()->add_fp32_contents(1.0F);
  request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(2.0F);
  AddTyped(request, "int8", "INT8", {1}).mutable_contents()->add_int_contents(-128);
  AddTyped(request, "uint16", "UINT16", {1}).mutable_contents()->add_uint_contents(65535);
  AddTyped(request, "bool", "BOOL", {1}).mutable_contents()->add_bool_contents(true);
  AddTyped(request, "bytes", "BYTES", {1}).mutable_contents()->add_bytes_contents("cat");
  AddTyped(request, "none", "INT64", {0});

  auto read = ReadInputs(request);
  ASSERT_TRUE(read.ok()) << read.status();
  const TensorList list = *std::move(read);  // views survive a move of the list
  EXPECT_EQ((*Elements<float>(*list.Find("fp32")))[1], 2.0F);
  EXPECT_EQ((*Elements<std::int8_t>(*list.Find("int8")))[0], -128);
  EXPECT_EQ((*Elements<std::uint16_t>(*list.Find("uint16")))[0], 65535);
  EXPECT_EQ((*Elements<bool>(*list.Find("bool")))[0], true);
  EXPECT_EQ((*DecodeBytes(list.Find("bytes")->data, 1))[0], "cat");
  EXPECT_TRUE(list.Find("none")->data.empty());
}

TEST(Requests, ContentsTogetherWithRawContentsAreRejected) {
  inference::ModelInferRequest request;
  AddRawInput(request, "a", inference::TYPE_UINT8, Shape{1}) = "x";
  request.mutable_inputs(0)->mutable_contents()->add_uint_contents(1);
  EXPECT_TRUE(Rejected(ReadInputs(request).status(), "together"));
}

TEST(Requests, WhatDoesNotFitIsRejected) {
  const auto rejected = [](const std::string& datatype, const Shape& shape, const auto& fill,
                           const std::string& part) {
    inference::ModelInferRequest request;
    fill(*AddTyped(request, "a", datatype, shape).mutable_contents());
    return Rejected(ReadInputs(request).status(), part);
  };
  const auto nothing = [](auto&) {};
  const auto one_int = [](auto& contents) { contents.add_int_contents(200); };
  EXPECT_TRUE(rejected("FP32", {1}, nothing, "takes 4 bytes, there are 0"));
  EXPECT_TRUE(rejected("FP33", {1}, nothing, "unknown datatype 'FP33'"));
  EXPECT_TRUE(rejected("FP32", {-1}, nothing, "negative"));
  EXPECT_TRUE(rejected("FP16", {1}, nothing, "raw contents only"));
  EXPECT_TRUE(rejected("INT8", {1}, one_int, "200 does not fit"));
  EXPECT_TRUE(rejected("INT32", {2}, one_int, "takes 8 bytes"));
  EXPECT_TRUE(rejected("FP32", {0}, one_int, "not of datatype FP32"));
}

TEST(Requests, OneElementInAListOfAnotherDatatypeIsRejected) {
  using Contents = inference::InferTensorContents;
  const auto status = [](const std::string& datatype, void (*own)(Contents&),
                         void (*foreign)(Contents&)) {
    inference::ModelInferRequest request;
    Contents& contents = *AddTyped(request, "a", datatype, {1}).mutable_contents();
    own(contents);
    if (foreign != nullptr) foreign(contents);
    return ReadInputs(request).status();
  };
  void (*const fp32)(Contents&) = [](Contents& c) { c.add_fp32_contents(1); };
  void (*const int32)(Contents&) = [](Contents& c) { c.add_int_contents(1); };
  EXPECT_TRUE(status("FP32", fp32, nullptr).ok());
  EXPECT_TRUE(status("INT32", int32, nullptr).ok());
  EXPECT_TRUE(Rejected(status("INT32", int32, fp32), "not of datatype INT32"));
  for (void (*const foreign)(Contents&) : std::initializer_list<void (*)(Contents&)>{
           [](Contents& c) { c.add_bool_contents(true); }, int32,
           [](Contents& c) { c.add_int64_contents(1); },
           [](Contents& c) { c.add_uint_contents(1); },
           [](Contents& c) { c.add_uint64_contents(1); },
           [](Contents& c) { c.add_fp64_contents(1); },
           [](Contents& c) { c.add_bytes_contents("x"); }}) {
    EXPECT_TRUE(Rejected(status("FP32", fp32, foreign), "not of datatype FP32"));
  }
}

TEST(Requests, RawEntriesMustMatchTheInputs) {
  inference::ModelInferRequest request;
  AddRawInput(request, "a", inference::TYPE_UINT8, Shape{1}) = "x";
  request.add_raw_input_contents("y");
  EXPECT_TRUE(Rejected(ReadInputs(request).status(), "2 raw contents for 1 inputs"));
  request.mutable_raw_input_contents()->Clear();
  request.add_raw_input_contents("xy");
  EXPECT_TRUE(Rejected(ReadInputs(request).status(), "takes 1 bytes, there are 2"));
  request.set_raw_input_contents(0, "x");
  AddTyped(request, "b", "UINT8", {1});
  EXPECT_TRUE(Rejected(ReadInputs(request).status(), "'b': no raw contents are left"));
  request.mutable_inputs(1)->set_name("a");
  EXPECT_TRUE(Rejected(ReadInputs(request).status(), "given twice"));
}

TEST(Requests, SharedMemoryIsLookedUp) {
  inference::ModelInferRequest request;
  auto& parameters = *AddTyped(request, "a", "UINT8", {2}).mutable_parameters();
  parameters["shared_memory_region"].set_string_param("r");
  EXPECT_TRUE(Rejected(ReadInputs(request).status(), "'a': 'shared_memory_byte_size' must be"));
  parameters["shared_memory_byte_size"].set_int64_param(2);
  parameters["shared_memory_offset"].set_uint64_param(7);
  EXPECT_EQ(ReadInputs(request).status().code(), absl::StatusCode::kUnimplemented);

  const std::array<std::byte, 2> memory = {std::byte{3}, std::byte{4}};
  SharedMemoryReference asked;
  const auto lookup = [&](const SharedMemoryReference& reference) {
    asked = reference;
    return std::span<const std::byte>(memory).first(static_cast<std::size_t>(reference.byte_size));
  };
  const auto inputs = ReadInputs(request, lookup);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ(asked.region, "r");
  EXPECT_EQ(asked.offset, 7U);
  EXPECT_EQ(inputs->tensors().front().data.data(), memory.data());

  // What the shape asks for, and no other type of parameter.
  parameters["shared_memory_byte_size"].set_int64_param(1);
  EXPECT_TRUE(Rejected(ReadInputs(request, lookup).status(), "takes 2 bytes, there are 1"));
  parameters["shared_memory_byte_size"].set_int64_param(-1);
  EXPECT_TRUE(Rejected(ReadInputs(request, lookup).status(), "is not a whole number"));
  parameters["shared_memory_byte_size"].set_string_param("2");
  EXPECT_TRUE(Rejected(ReadInputs(request, lookup).status(), "is not a whole number"));
}

TEST(Responses, RoundTripThroughTheWire) {
  inference::ModelInferResponse sent;
  const std::array<std::int32_t, 3> values = {7, -8, 9};
  AddRawOutput(sent, "numbers", inference::TYPE_INT32, Shape{1, 3})
      .assign(reinterpret_cast<const char*>(values.data()), sizeof values);
  AddRawOutput(sent, "empty", inference::TYPE_FP32, Shape{0, 6});

  inference::ModelInferResponse received;
  ASSERT_TRUE(received.ParseFromString(sent.SerializeAsString()));
  const auto list = ReadOutputs(received);
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ((*Elements<std::int32_t>(*list->Find("numbers")))[2], 9);
  EXPECT_TRUE(list->Find("empty")->data.empty());

  received.mutable_raw_output_contents(0)->pop_back();
  EXPECT_TRUE(Rejected(ReadOutputs(received).status(), "output 'numbers'"));
}

}  // namespace
}  // namespace inferpool
