#include "worker/kserve_http/infer_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "proto/tensor.h"

namespace inferpool::kserve_http {
namespace {

using testing::HasSubstr;

absl::StatusOr<InferCall> Read(std::string_view body, std::optional<std::size_t> header = {}) {
  return ReadInfer({body, std::make_shared<int>(0)}, header);
}

std::string Refusal(std::string_view body, std::optional<std::size_t> header = {}) {
  const auto call = Read(body, header);
  if (call.ok()) return "(none)";
  EXPECT_TRUE(absl::IsInvalidArgument(call.status())) << call.status();
  return std::string(Message(call.status()));
}

std::string Raw(const InferCall& call, std::size_t input) {
  const auto data = call.raw.at(input).data;
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

TEST(InferRequestTest, AllOfARequestIsHandedOn) {
  const auto call =
      Read(R"({"id":"seven","parameters":{"text":"a","yes":true,"whole":-9223372036854775808,
      "large":18446744073709551615,"real":0.5,"one":1.0},
      "inputs":[{"name":"x","shape":[1,2],"datatype":"INT8","data":[[1,-1]],"more":{}},
                {"shape":[],"name":"y","data":[true],"datatype":"BOOL","parameters":{"own":1}}],
      "outputs":[{"name":"p","parameters":{"classification":3}},{"name":"q","parameters":{"binary_data":true,"classification":0}}],
      "unknown":[1]})");
  ASSERT_TRUE(call.ok()) << call.status();
  const auto& request = call->request;
  EXPECT_EQ(request.id(), "seven");
  const auto& parameters = request.parameters();
  EXPECT_EQ(parameters.size(), 6U);
  EXPECT_EQ(parameters.at("text").string_param(), "a");
  EXPECT_TRUE(parameters.at("yes").bool_param());
  EXPECT_EQ(parameters.at("whole").int64_param(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parameters.at("large").uint64_param(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(parameters.at("real").double_param(), 0.5);
  EXPECT_TRUE(parameters.at("one").has_double_param());
  ASSERT_EQ(request.inputs_size(), 2);
  EXPECT_EQ(request.inputs(0).name(), "x");
  EXPECT_EQ(request.inputs(0).datatype(), "INT8");
  EXPECT_EQ(request.inputs(0).shape_size(), 2);
  EXPECT_TRUE(request.inputs(1).parameters().empty());
  EXPECT_EQ(Raw(*call, 0), "\x01\xff");
  EXPECT_EQ(Raw(*call, 1), "\x01");
  ASSERT_EQ(request.outputs_size(), 2);
  EXPECT_EQ(request.outputs(0).parameters().at("classification").int64_param(), 3);
  EXPECT_TRUE(request.outputs(1).parameters().empty());
  EXPECT_FALSE(call->IsBinary("p"));
  EXPECT_TRUE(call->IsBinary("q"));
  EXPECT_FALSE(call->IsBinary("another"));
}

TEST(InferRequestTest, ARequestMaySayThatOutputsAreBinary) {
  const auto call = Read(R"({"inputs":[],"parameters":{"binary_data_output":true},
      "outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":false}}]})");
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_TRUE(call->IsBinary("a"));
  EXPECT_FALSE(call->IsBinary("b"));
  EXPECT_TRUE(call->IsBinary("another"));
  EXPECT_TRUE(call->request.parameters().empty());  // of no interest to the model server
}

TEST(InferRequestTest, BinaryInputsFollowTheJsonAndAreNotCopied) {
  const std::string json = R"({"inputs":[
      {"name":"a","shape":[3],"datatype":"UINT8","parameters":{"binary_data_size":3}},
      {"name":"j","shape":[1],"datatype":"UINT8","data":[9]},
      {"name":"e","shape":[0],"datatype":"FP32","parameters":{"binary_data_size":0}},
      {"name":"h","shape":[1],"datatype":"BF16","parameters":{"binary_data_size":2}},
      {"name":"s","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]})";
  const std::string body = json + "abc" + "hh" + std::string("\1\0\0\0x", 5);
  const auto owner = std::make_shared<int>(0);
  auto call = ReadInfer({body, owner}, json.size());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(Raw(*call, 0), "abc");
  EXPECT_EQ(Raw(*call, 1), "\x09");
  EXPECT_EQ(Raw(*call, 2), "");
  EXPECT_EQ(Raw(*call, 3), "hh");
  EXPECT_EQ(Raw(*call, 4).back(), 'x');
  EXPECT_EQ(static_cast<const void*>(call->raw[0].data.data()), body.data() + json.size());
  EXPECT_EQ(call->raw[0].owner, owner);
  EXPECT_NE(call->raw[1].owner, owner);
  // The body lives as long as a tensor that is sent from it.
  EXPECT_EQ(owner.use_count(), 5);
}

TEST(InferRequestTest, ABinarySizeMayBeLeftOutWhereItIsKnown) {
  const std::string json = R"({"inputs":[{"name":"a","shape":[1,2],"datatype":"INT16"},
      {"name":"b","shape":[3],"datatype":"UINT8"}]})";
  const auto call = Read(json + "ABCDxyz", json.size());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(Raw(*call, 0), "ABCD");
  EXPECT_EQ(Raw(*call, 1), "xyz");
  EXPECT_THAT(Refusal(json + "ABCDxy", json.size()), HasSubstr("only 2 more"));
  EXPECT_NE(Refusal(json + "ABCDxyz+", json.size()), "(none)");
  EXPECT_THAT(Refusal(json), HasSubstr("either"));

  const std::string text = R"({"inputs":[{"name":"t","shape":[1],"datatype":"BYTES"}]})";
  const auto picture = Read(text + "JFIF", text.size());
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(Raw(*picture, 0), std::string("\4\0\0\0JFIF", 8));
  const std::string two = R"({"inputs":[{"name":"t","shape":[2],"datatype":"BYTES"}]})";
  EXPECT_THAT(Refusal(two + "JFIF", two.size()), HasSubstr("only input"));
  const std::string both = R"({"inputs":[{"name":"t","shape":[1],"datatype":"BYTES"},
      {"name":"b","shape":[1],"datatype":"UINT8"}]})";
  EXPECT_THAT(Refusal(both + "JFIF", both.size()), HasSubstr("only input"));
}

TEST(InferRequestTest, TheBinaryPartMustAddUp) {
  const auto body = [](const std::string& size, const std::string& shape = "[4]") {
    return R"({"inputs":[{"name":"x","datatype":"UINT8","shape":)" + shape +
           R"(,"parameters":{"binary_data_size":)" + size + "}}]}";
  };
  const std::string good = body("4");
  EXPECT_EQ(Refusal(good + "abcd", good.size()), "(none)");
  for (const char* tail : {"", "abc", "abcde"}) {
    EXPECT_NE(Refusal(good + tail, good.size()), "(none)");
  }
  EXPECT_NE(Refusal(good + "abcd"), "(none)");
  EXPECT_NE(Refusal(good), "(none)");
  EXPECT_NE(Refusal(good + "abcd", good.size() + 5), "(none)");
  EXPECT_NE(Refusal(good + "abcd", good.size() - 1), "(none)");
  EXPECT_THAT(Refusal(good + "abcd", 0), HasSubstr("raw binary"));
  for (const char* size :
       {"-1", "4.0", "\"4\"", "null", "[4]", "18446744073709551615", "1e30", "5"}) {
    const std::string bad = body(size);
    EXPECT_NE(Refusal(bad + "abcd", bad.size()), "(none)") << size;
  }
  for (const char* shape : {"[3]", "[2,3]", "[-1]", "[4294967296,4294967296]", "[]"}) {
    const std::string bad = body("4", shape);
    EXPECT_NE(Refusal(bad + "abcd", bad.size()), "(none)") << shape;
  }
}

TEST(InferRequestTest, WhatTheProtocolDoesNotAllowIsRefused) {
  const std::string x = R"({"name":"x","shape":[1],"datatype":"INT32","data":[1]})";
  for (
      const auto& [body, text] : std::vector<std::pair<std::string, std::string>>{
          {"", "empty"},
          {"{}", "inputs"},
          {R"({"inputs":{}})", "inputs"},
          {R"({"inputs":[1]})", "object"},
          {R"({"inputs":[{}]})", "name"},
          {R"({"inputs":[{"name":1}]})", "name"},
          {R"({"inputs":[{"name":""}]})", "name"},
          {R"({"inputs":[)" + x + "," + x + "]}", "twice"},
          {R"({"inputs":[{"name":"x"}]})", "datatype"},
          {R"({"inputs":[{"name":"x","datatype":"INT"}]})", "datatype"},
          {R"({"inputs":[{"name":"x","datatype":"TYPE_INT32"}]})", "datatype"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","data":[1]}]})", "shape"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":1,"data":[1]}]})", "shape"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[-1],"data":[1]}]})", "shape"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1.0],"data":[1]}]})", "shape"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":["1"],"data":[1]}]})", "shape"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[9223372036854775808],"data":[1]}]})",
           "shape"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[4294967296,4294967296],"data":[1]}]})",
           ""},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1]}]})", "either"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}}]})",
           "either"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[1],"parameters":[]}]})",
           "parameters"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":1}]})", "array"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":null}]})", "array"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[1]0}]})", "malformed"},
          {R"({"inputs":[{"name":"x","datatype":"INT32","shape":[1],"parameters":{"shared_memory_region":"r"}}]})",
           "shared memory"},
          {R"({"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r"}}]})",
           "shared memory"},
          {R"({"inputs":[],"outputs":{}})", "outputs"},
          {R"({"inputs":[],"outputs":["y"]})", "object"},
          {R"({"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]})", "twice"},
          {R"({"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":1}}]})",
           "binary_data"},
          {R"({"inputs":[],"outputs":[{"name":"y","parameters":{"classification":-1}}]})",
           "classification"},
          {R"({"inputs":[],"outputs":[{"name":"y","parameters":{"classification":"1"}}]})",
           "classification"},
          {R"({"inputs":[],"id":7})", "id"},
          {R"({"inputs":[],"parameters":[]})", "parameters"},
          {R"({"inputs":[],"parameters":{"a":[1]}})", "parameter a"},
          {R"({"inputs":[],"parameters":{"a":null}})", "parameter a"},
          {R"({"inputs":[],"parameters":{"triton_x":1}})", "reserved"},
          {R"({"inputs":[],"parameters":{"binary_data_output":1}})", "binary_data_output"}}) {
    EXPECT_THAT(Refusal(body), HasSubstr(text)) << body;
    EXPECT_NE(Refusal(body), "(none)") << body;
  }
  std::string dimensions = "1";
  for (int i = 0; i < 64; ++i) dimensions += ",1";
  EXPECT_THAT(Refusal(R"({"inputs":[{"name":"x","datatype":"INT32","data":[1],"shape":[)" +
                      dimensions + "]}]}"),
              HasSubstr("dimensions"));
}

// What the model's server says of it.
inference::ModelMetadataResponse Model(const std::vector<std::int64_t>& shape) {
  inference::ModelMetadataResponse model;
  model.set_name("m");
  auto& input = *model.add_inputs();
  input.set_name("x");
  input.set_datatype("FP32");
  input.mutable_shape()->Add(shape.begin(), shape.end());
  return model;
}

std::string RefusalBy(const inference::ModelMetadataResponse& model, const std::string& name,
                      const std::string& datatype, const std::string& shape) {
  // Elements that cannot be read: whoever does is heard.
  const std::string body = R"({"inputs":[{"name":")" + name + R"(","datatype":")" + datatype +
                           R"(","shape":)" + shape + R"(,"data":[!]}]})";
  const auto call = ReadInfer({body, std::make_shared<int>(0)}, {}, &model);
  EXPECT_TRUE(absl::IsInvalidArgument(call.status())) << call.status();
  return std::string(Message(call.status()));
}

TEST(InferRequestTest, NoElementIsReadOfAnInputThatTheModelDoesNotTake) {
  const auto model = Model({-1, 3, 8, -1});
  EXPECT_THAT(RefusalBy(model, "y", "FP32", "[1,3,8,8]"), HasSubstr("model m has no such input"));
  EXPECT_THAT(RefusalBy(model, "x", "FP64", "[1,3,8,8]"),
              HasSubstr("its datatype is FP64, model m takes FP32"));
  for (const std::string shape : {"[1,3,9,8]", "[3,8,8]", "[1,1,3,8,8]", "[]"}) {
    EXPECT_THAT(RefusalBy(model, "x", "FP32", shape), HasSubstr("model m takes [-1,3,8,-1]"))
        << shape;
  }
  // The server has the last word on the batch.
  EXPECT_THAT(RefusalBy(model, "x", "FP32", "[9,3,8,7]"), HasSubstr("element 0"));
}

TEST(InferRequestTest, AServerThatSaysNothingOfShapesTakesAny) {
  EXPECT_THAT(RefusalBy(Model({}), "x", "FP32", "[7]"), HasSubstr("element 0"));
  EXPECT_THAT(RefusalBy(Model({}), "x", "INT8", "[7]"), HasSubstr("its datatype"));
  EXPECT_THAT(RefusalBy({}, "any", "INT8", "[7]"), HasSubstr("element 0"));
}

TEST(InferRequestTest, ItEndsWithThePatience) {
  const std::string body = R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]})";
  const Patience over{.deadline = Deadline(Clock::now())};
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      ReadInfer({body, std::make_shared<int>(0)}, {}, nullptr, over).status()));
}

}  // namespace
}  // namespace inferpool::kserve_http
