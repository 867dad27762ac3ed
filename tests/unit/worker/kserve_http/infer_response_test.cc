#include "worker/kserve_http/infer_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "proto/tensor.h"

namespace inferpool::kserve_http {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class InferResponseTest : public testing::Test {
 protected:
  InferResponseTest() {
    message_.set_model_name("m");
    message_.set_model_version("2");
  }
  void Add(const std::string& name, inference::DataType datatype, std::vector<std::int64_t> shape,
           std::string raw) {
    AddRawOutput(message_, name, datatype, shape) = std::move(raw);
  }
  absl::StatusOr<fcgi::Response> Write() {
    auto answer = backend::InferAnswer::FromMessage(message_);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return WriteInfer(*answer, call_);
  }

  inference::ModelInferResponse message_;
  InferCall call_;
};

TEST_F(InferResponseTest, JsonAlone) {
  message_.set_id("7");
  (*message_.mutable_parameters())["b"].set_int64_param(-5);
  (*message_.mutable_parameters())["a"].set_string_param("\"");
  Add("x", inference::TYPE_INT8, {1, 2}, "\x01\xff");
  Add("y", inference::TYPE_BOOL, {}, "\x01");
  const auto response = Write();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body,
            R"({"id":"7","model_name":"m","model_version":"2","parameters":{"a":"\"","b":-5},)"
            R"("outputs":[{"name":"x","datatype":"INT8","shape":[1,2],"data":[1,-1]},)"
            R"({"name":"y","datatype":"BOOL","shape":[],"data":[true]}]})");
  EXPECT_THAT(response->headers, ElementsAre(Pair("Content-Type", "application/json")));
}

TEST_F(InferResponseTest, BinaryOutputsFollowInOrder) {
  call_.binary_by_default = true;
  call_.binary_outputs["j"] = false;
  Add("a", inference::TYPE_FP16, {1}, "aa");
  Add("j", inference::TYPE_UINT8, {1}, "\x09");
  Add("b", inference::TYPE_UINT8, {3}, "bbb");
  const auto response = Write();
  ASSERT_TRUE(response.ok()) << response.status();
  const std::string json =
      R"({"model_name":"m","model_version":"2",)"
      R"("outputs":[{"name":"a","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}},)"
      R"({"name":"j","datatype":"UINT8","shape":[1],"data":[9]},)"
      R"({"name":"b","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}}]})";
  EXPECT_EQ(response->body, json + "aabbb");
  EXPECT_THAT(response->headers,
              ElementsAre(Pair("Content-Type", "application/octet-stream"),
                          Pair("Inference-Header-Content-Length", std::to_string(json.size()))));
}

TEST_F(InferResponseTest, AnEmptyBinaryPartIsNone) {
  call_.binary_by_default = true;
  Add("a", inference::TYPE_FP32, {0}, "");
  const auto response = Write();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_THAT(response->headers, ElementsAre(Pair("Content-Type", "application/json")));
  EXPECT_THAT(response->body, HasSubstr(R"("binary_data_size":0)"));
}

TEST_F(InferResponseTest, WhatJsonCannotSayNamesTheOutput) {
  Add("half", inference::TYPE_FP16, {1}, "aa");
  const auto response = Write();
  ASSERT_TRUE(absl::IsInvalidArgument(response.status()));
  EXPECT_THAT(std::string(Message(response.status())), HasSubstr("'half'"));
}

}  // namespace
}  // namespace inferpool::kserve_http
