#include "worker/kserve_http/message_json.h"

#include <gtest/gtest.h>

#include <limits>

#include "proto/model_config.pb.h"

namespace inferpool::kserve_http {
namespace {

std::string Of(const google::protobuf::Message& message) {
  return ToJson(message);
}

TEST(MessageJsonTest, NumbersAreNumbersAndDefaultsAreThere) {
  inference::StatisticDuration duration;
  EXPECT_EQ(Of(duration), R"({"count":0,"ns":0})");
  duration.set_ns(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(Of(duration), R"({"count":0,"ns":18446744073709551615})");
}

TEST(MessageJsonTest, ListsAndTextsAndMessages) {
  inference::ModelMetadataResponse metadata;
  metadata.set_name("a\"\xc3\xa9");
  metadata.add_versions("1");
  metadata.add_versions("2");
  auto& input = *metadata.add_inputs();
  input.set_name("x");
  input.set_datatype("FP32");
  input.add_shape(-1);
  input.add_shape(3);
  EXPECT_EQ(Of(metadata),
            R"({"name":"a\"\u00e9","versions":["1","2"],"platform":"",)"
            R"("inputs":[{"name":"x","datatype":"FP32","shape":[-1,3]}],"outputs":[]})");
}

TEST(MessageJsonTest, MapsEnumsAndChoices) {
  inference::ModelConfig config;
  (*config.mutable_parameters())["b"].set_string_value("2");
  (*config.mutable_parameters())["a"].set_string_value("1");
  config.mutable_version_policy()->mutable_latest()->set_num_versions(2);
  config.add_input()->set_data_type(inference::TYPE_INT32);
  const std::string json = Of(config);
  const auto has = [&json](std::string_view text) { return json.find(text) != std::string::npos; };
  EXPECT_TRUE(has(R"("parameters":{"a":{"string_value":"1"},"b":{"string_value":"2"}})")) << json;
  EXPECT_TRUE(has(R"("version_policy":{"latest":{"num_versions":2}})")) << json;
  EXPECT_TRUE(has(R"("data_type":"TYPE_INT32")")) << json;
  EXPECT_FALSE(has("dynamic_batching")) << json;  // not set, and a message
}

TEST(MessageJsonTest, TheIndexIsAList) {
  inference::RepositoryIndexResponse index;
  EXPECT_EQ(ToJson(index), "[]");
  auto& good = *index.add_models();
  good.set_name("a");
  good.set_version("1");
  good.set_state("READY");
  auto& bad = *index.add_models();
  bad.set_name("b");
  bad.set_state("UNAVAILABLE");
  bad.set_reason("no \"file\"");
  EXPECT_EQ(ToJson(index), R"([{"name":"a","version":"1","state":"READY"},)"
                           R"({"name":"b","state":"UNAVAILABLE","reason":"no \"file\""}])");
}

TEST(MessageJsonTest, ExtensionsAreThoseThatAreOfferedHere) {
  inference::ServerMetadataResponse metadata;
  metadata.set_name("server");
  for (const char* extension : {"classification", "system_shared_memory", "cuda_shared_memory",
                                "model_repository", "trace", "binary_tensor_data", "statistics"}) {
    metadata.add_extensions(extension);
  }
  EXPECT_EQ(ToJson(metadata),
            R"({"name":"server","version":"",)"
            R"("extensions":["classification","statistics","binary_tensor_data"]})");
}

TEST(MessageJsonTest, ParametersOfEachKind) {
  Parameters parameters;
  parameters["a"].set_bool_param(true);
  parameters["b"].set_int64_param(-1);
  parameters["c"].set_string_param("x");
  parameters["d"].set_double_param(0.1);
  parameters["e"].set_uint64_param(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(ToJson(parameters), R"({"a":true,"b":-1,"c":"x","d":0.1,"e":18446744073709551615})");
}

}  // namespace
}  // namespace inferpool::kserve_http
