#include "modelserver/config/config_file.h"

#include <gtest/gtest.h>

#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

using Versions = std::vector<std::int64_t>;

std::string Text(const absl::Status& status) {
  return std::string(Message(status));
}

TEST(ConfigFile, IsReadAsTritonWritesIt) {
  const Folder folder;
  const auto config = ReadConfigFile(folder.Write("config.pbtxt", R"(
      name: "m"
      platform: "onnxruntime_onnx"   # a comment
      max_batch_size: 8
      input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, -1 ] } ]
      output [ { name: "y" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" } ]
      version_policy: { specific: { versions: [1, 3] } }
      instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
      dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
      parameters { key: "k" value: { string_value: "v" } }
      model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { zero_data: true } } })"),
                                     "m");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->max_batch_size(), 8);
  EXPECT_EQ(config->input(0).dims_size(), 3);
  EXPECT_EQ(InstanceCount(*config), 3);
  EXPECT_EQ(*FindParameter(*config, "k"), "v");
  EXPECT_EQ(FindParameter(*config, "other"), nullptr);
}

TEST(ConfigFile, ThatIsNotThereIsEmpty) {
  const auto config = ReadConfigFile("/nonexistent/config.pbtxt", "m");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->name(), "m");
  EXPECT_EQ(InstanceCount(*config), 1);
}

TEST(ConfigFile, MistakesSayFileLineAndCause) {
  const Folder folder;
  const auto mistake = [&](const std::string& text) {
    return Text(ReadConfigFile(folder.Write("config.pbtxt", text), "m").status());
  };
  EXPECT_NE(mistake("name: \"m\"\nmax_batch_sise: 4\n").find("config.pbtxt:2:"), std::string::npos);
  EXPECT_NE(mistake("name: \"m\"\nmax_batch_sise: 4\n").find("max_batch_sise"), std::string::npos);
  EXPECT_NE(mistake("max_batch_size: \"4\"").find("config.pbtxt:1:17"), std::string::npos);
  EXPECT_NE(mistake("input { name: \"x\"").find("config.pbtxt:1:"), std::string::npos);
  EXPECT_NE(mistake("input { data_type: TYPE_FLOAT }").find("TYPE_FLOAT"), std::string::npos);
  EXPECT_NE(mistake("name: \"other\"").find("'other' is not the folder's, 'm'"), std::string::npos);
}

TEST(ConfigFile, TakesWhatRealConfigurationsHold) {
  const Folder folder;
  const auto config = ReadConfigFile(folder.Write("config.pbtxt", R"(
      backend: "onnxruntime"
      max_batch_size: 4
      optimization {
        graph { level: 1 } priority: PRIORITY_MAX input_pinned_memory { enable: false }
        execution_accelerators { gpu_execution_accelerator: [ {
          name: "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ] }
        cuda { graphs: true graph_spec { batch_size: 1 input { key: "x" value { dim: [ 3 ] } } } }
      }
      cc_model_filenames { key: "8.6" value: "model86.onnx" }
      model_transaction_policy { decoupled: false }
      metric_tags { key: "team" value: "vision" }
      input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] is_non_linear_format_io: true } ]
      output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] is_non_linear_format_io: false } ]
      batch_input [ { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ENDS"
        data_type: TYPE_FP32 source_input: "x" } ]
      batch_output [ { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" } ]
      model_operations { op_library_filename: [ "libops.so" ] }
      model_repository_agents { agents [ {
        name: "checksum" parameters { key: "MD5:1/model.onnx" value: "d4" } } ] }
      model_metrics { metric_control [ { metric_identifier { family: "f" }
        histogram_options { buckets: [ 0.1, 1 ] } } ] }
      instance_group [ { kind: KIND_GPU gpus: [ 0, 1 ] rate_limiter { resources [ {
        name: "R" global: true count: 2 } ] priority: 2 } host_policy: "cpu" } ]
      response_cache { enable: true })"),
                                     "m");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->optimization().graph().level(), 1);
  const auto sequences = ReadConfigFile(folder.Write("config.pbtxt", R"(
      sequence_batching {
        max_sequence_idle_microseconds: 5000000
        direct { max_queue_delay_microseconds: 100 }
        control_input [ { name: "START" control [ {
          kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] } ]
        state [ { input_name: "i" output_name: "o" data_type: TYPE_FP32 dims: [ -1 ] } ]
      })"),
                                        "m");
  ASSERT_TRUE(sequences.ok()) << sequences.status();
  EXPECT_TRUE(sequences->has_sequence_batching());
}

TEST(ConfigJson, IsReadUnderEitherOfItsNamesAndIgnoresNothing) {
  const auto snake = ParseConfigJson(R"({"name": "m", "backend": "identity", "max_batch_size": 8,
      "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4, "-1"]}],
      "parameters": {"k": {"string_value": "v"}}})",
                                     "m");
  ASSERT_TRUE(snake.ok()) << snake.status();
  EXPECT_EQ(snake->max_batch_size(), 8);
  EXPECT_EQ(snake->input(0).dims(1), -1);
  EXPECT_EQ(*FindParameter(*snake, "k"), "v");
  const auto camel = ParseConfigJson(R"({"maxBatchSize": 8})", "m");
  ASSERT_TRUE(camel.ok()) << camel.status();
  EXPECT_EQ(camel->max_batch_size(), 8);
  EXPECT_EQ(camel->name(), "m");
  for (const char* json :
       {"", "[]", "{", "{\"max_batch_sise\": 1}", "{\"max_batch_size\": \"x\"}",
        "{\"input\": [{\"data_type\": \"TYPE_FLOAT\"}]}", "{\"name\": \"other\"}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseConfigJson(json, "m").status())) << json;
  }
  EXPECT_FALSE(ParseConfigJson(std::string(2U << 20U, ' ') + "{}", "m").ok());
  EXPECT_FALSE(ParseConfigJson(std::string(100'000, '['), "m").ok());
}

TEST(Versions, AreTheLatestUnlessThePolicySaysOtherwise) {
  inference::ModelVersionPolicy policy;
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{10}));
  EXPECT_EQ(*ChooseVersions(policy, {}), Versions{});
  policy.mutable_latest()->set_num_versions(2);
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{9, 10}));
  policy.mutable_latest()->set_num_versions(7);
  EXPECT_EQ(*ChooseVersions(policy, {2, 1}), (Versions{1, 2}));
  policy.mutable_all();
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{1, 9, 10}));
  policy.mutable_specific()->add_versions(9);
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{9}));
  policy.mutable_specific()->add_versions(4);
  EXPECT_EQ(*ChooseVersions(policy, {1, 10, 9}), (Versions{9}));
  EXPECT_FALSE(ChooseVersions(policy, {1, 10}).ok());
}

TEST(Defaults, AreWrittenDownAsTritonDoes) {
  inference::ModelConfig config;
  config.set_name("m");
  config.set_max_batch_size(4);
  config.mutable_dynamic_batching();
  FillDefaults(config);
  EXPECT_EQ(config.ShortDebugString(),
            "name: \"m\" version_policy { latest { num_versions: 1 } } max_batch_size: 4 "
            "instance_group { name: \"m\" count: 1 kind: KIND_CPU } "
            "dynamic_batching { preferred_batch_size: 4 }");
  const std::string once = config.SerializeAsString();
  FillDefaults(config);
  EXPECT_EQ(config.SerializeAsString(), once);
}

TEST(Defaults, LeaveWhatIsSaid) {
  inference::ModelConfig config;
  config.set_name("m");
  config.mutable_version_policy()->mutable_all();
  config.add_instance_group()->set_count(3);
  config.add_instance_group()->set_kind(inference::ModelInstanceGroup::KIND_GPU);
  config.mutable_instance_group(1)->set_name("own");
  FillDefaults(config);
  EXPECT_EQ(config.ShortDebugString(),
            "name: \"m\" version_policy { all { } } "
            "instance_group { name: \"m_0\" count: 3 kind: KIND_CPU } "
            "instance_group { name: \"own\" count: 1 kind: KIND_GPU }");
  config = {};
  config.mutable_ensemble_scheduling();
  FillDefaults(config);
  EXPECT_TRUE(config.instance_group().empty());
  EXPECT_TRUE(config.version_policy().has_latest());
}

TEST(NumberParameters, AreReadAndBounded) {
  inference::ModelConfig config;
  const auto value = [&](const std::string& text) {
    (*config.mutable_parameters())["p"].set_string_value(text);
    return NumberParameter(config, "p", 1, 5, 2);
  };
  EXPECT_EQ(*NumberParameter(config, "p", 1, 5, 2), 2);
  EXPECT_EQ(*value("1.5"), 1.5);
  for (const char* text : {"", "x", "1.5x", " 2", "0.9", "6", "nan", "inf"}) {
    EXPECT_FALSE(value(text).ok()) << text;
  }
}

}  // namespace
}  // namespace inferpool::modelserver
