#include "modelserver/config/config_check.h"

#include <gtest/gtest.h>

#include <string>

#include "shared/base/status.h"

namespace inferpool::modelserver {
namespace {

inference::ModelConfig Complete() {
  inference::ModelConfig config;
  auto& input = *config.add_input();
  input.set_name("x");
  input.set_data_type(inference::TYPE_FP32);
  input.add_dims(-1);
  auto& output = *config.add_output();
  output.set_name("y");
  output.set_data_type(inference::TYPE_STRING);
  output.add_dims(3);
  return config;
}

template <typename Change>
std::string Wrong(Change change) {
  inference::ModelConfig config = Complete();
  change(config);
  return std::string(Message(CheckConfig(config)));
}

TEST(CheckedConfigs, SayWhatIsWrong) {
  EXPECT_EQ(Wrong([](auto&) {}), "");
  EXPECT_NE(Wrong([](auto& c) { c.clear_input(); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.mutable_output(0)->clear_name(); }), "");
  EXPECT_NE(Wrong([](auto& c) { *c.add_input() = c.input(0); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.mutable_input(0)->clear_data_type(); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.mutable_input(0)->set_dims(0, 0); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.mutable_input(0)->set_dims(0, -2); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.set_max_batch_size(-1); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.set_max_batch_size(1 << 30); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.mutable_output(0)->mutable_reshape(); }).find("reshape"),
            std::string::npos);
  EXPECT_NE(
      Wrong([](auto& c) { c.mutable_input(0)->set_is_shape_tensor(true); }).find("is_shape_tensor"),
      std::string::npos);
  EXPECT_NE(Wrong([](auto& c) { c.add_instance_group()->set_count(1 << 30); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.add_instance_group()->set_count(-1); }), "");
}

TEST(CheckedConfigs, RefuseSequencesAndDecoupledModelsByName) {
  EXPECT_NE(Wrong([](auto& c) { c.mutable_sequence_batching(); }).find("sequence_batching"),
            std::string::npos);
  EXPECT_NE(Wrong([](auto& c) {
              c.mutable_model_transaction_policy()->set_decoupled(true);
            }).find("decoupled"),
            std::string::npos);
  EXPECT_EQ(Wrong([](auto& c) { c.mutable_model_transaction_policy(); }), "");
}

TEST(CheckedConfigs, RefuseTensorsThatAreMadeOfTheBatchByName) {
  EXPECT_NE(Wrong([](auto& c) { c.add_batch_input(); }).find("batch_input"), std::string::npos);
  EXPECT_NE(Wrong([](auto& c) { c.add_batch_output(); }).find("batch_output"), std::string::npos);
}

TEST(CheckedConfigs, AnEnsembleIsNothingElse) {
  EXPECT_EQ(Wrong([](auto& c) { c.mutable_ensemble_scheduling(); }), "");
  EXPECT_NE(Wrong([](auto& c) { c.set_platform("ensemble"); }), "");
  EXPECT_NE(Wrong([](auto& c) {
              c.mutable_ensemble_scheduling();
              c.set_backend("identity");
            }),
            "");
  EXPECT_NE(Wrong([](auto& c) {
              c.mutable_ensemble_scheduling();
              c.add_instance_group();
            }),
            "");
}

template <typename Change>
std::string WrongBatching(Change change) {
  return Wrong([&change](inference::ModelConfig& config) {
    config.set_max_batch_size(8);
    change(*config.mutable_dynamic_batching());
  });
}

TEST(DynamicBatching, NeedsABatchToForm) {
  EXPECT_NE(Wrong([](auto& c) { c.mutable_dynamic_batching(); }).find("max_batch_size"),
            std::string::npos);
  EXPECT_EQ(WrongBatching([](auto&) {}), "");
}

TEST(DynamicBatching, PrefersSizesThatThereAre) {
  for (const int size : {1, 8}) {
    EXPECT_EQ(WrongBatching([&](auto& b) { b.add_preferred_batch_size(size); }), "") << size;
  }
  for (const int size : {-1, 0, 9}) {
    EXPECT_NE(WrongBatching([&](auto& b) {
                b.add_preferred_batch_size(size);
              }).find("preferred_batch_size"),
              std::string::npos)
        << size;
  }
}

constexpr std::uint64_t kFar = ~std::uint64_t{0};

TEST(DynamicBatching, HasPrioritiesWithinItsLevels) {
  const auto wrong = [](std::uint64_t levels, std::uint64_t standard, std::uint64_t policy) {
    return WrongBatching([&](auto& b) {
      b.set_priority_levels(levels);
      b.set_default_priority_level(standard);
      if (policy > 0) (*b.mutable_priority_queue_policy())[policy].set_max_queue_size(1);
    });
  };
  EXPECT_EQ(wrong(0, 0, 0), "");
  EXPECT_EQ(wrong(2, 1, 0), "");
  EXPECT_EQ(wrong(2, 2, 2), "");
  EXPECT_EQ(wrong(2, 2, 1), "");
  EXPECT_EQ(wrong(1, 1, 1), "");
  EXPECT_NE(wrong(2, 0, 0).find("default_priority_level"), std::string::npos);
  EXPECT_NE(wrong(2, 3, 0).find("default_priority_level"), std::string::npos);
  EXPECT_NE(wrong(0, 1, 0).find("default_priority_level"), std::string::npos);
  EXPECT_NE(wrong(0, 1, 0).find("allowed is 0 as there are no"), std::string::npos);
  EXPECT_NE(wrong(2, 3, 0).find("allowed is 1 to the 2"), std::string::npos);
  EXPECT_NE(wrong(2, 1, 3).find("priority_queue_policy"), std::string::npos);
  EXPECT_NE(wrong(0, 0, 1).find("priority_queue_policy"), std::string::npos);
  EXPECT_EQ(wrong(kFar, kFar - 1, kFar), "");
}

// Waits of more than a day are a day (batch_queue.cc), as Triton takes them too.
TEST(DynamicBatching, HasTimesOfAnyLength) {
  EXPECT_EQ(WrongBatching([](auto& b) { b.set_max_queue_delay_microseconds(kFar); }), "");
  EXPECT_EQ(WrongBatching([](auto& b) {
              b.mutable_default_queue_policy()->set_default_timeout_microseconds(kFar);
            }),
            "");
  EXPECT_EQ(WrongBatching([](auto& b) {
              b.set_priority_levels(1);
              b.set_default_priority_level(1);
              (*b.mutable_priority_queue_policy())[1].set_default_timeout_microseconds(kFar);
            }),
            "");
}

TEST(UnusedSettings, AreNamed) {
  inference::ModelConfig config = Complete();
  config.set_max_batch_size(2);
  config.mutable_dynamic_batching();
  config.add_model_warmup();
  EXPECT_TRUE(UnusedSettings(config).empty());
  config.mutable_optimization()->mutable_graph()->set_level(1);
  EXPECT_TRUE(UnusedSettings(config).empty());
  config.mutable_optimization()->set_eager_batching(true);
  config.mutable_response_cache()->set_enable(true);
  config.add_instance_group()->set_kind(inference::ModelInstanceGroup::KIND_GPU);
  EXPECT_EQ(UnusedSettings(config), (std::vector<std::string>{"response_cache", "optimization",
                                                              "instance_group.kind: KIND_GPU"}));

  inference::ModelConfig inputs = Complete();
  inputs.mutable_input(0)->set_optional(true);
  inputs.mutable_input(0)->set_allow_ragged_batch(true);
  EXPECT_TRUE(CheckConfig(inputs).ok());
  EXPECT_EQ(UnusedSettings(inputs).size(), 1U);  // ONNX models have optional inputs
  inputs.set_backend("identity");
  EXPECT_EQ(UnusedSettings(inputs).size(), 2U);
}

TEST(UnusedSettings, OfOtherBackendsAndServersAreNamedToo) {
  inference::ModelConfig config = Complete();
  config.mutable_model_operations();
  config.mutable_model_repository_agents();
  config.mutable_model_metrics();
  EXPECT_TRUE(UnusedSettings(config).empty());
  config.mutable_model_operations()->add_op_library_filename("lib.so");
  config.mutable_model_repository_agents()->add_agents()->set_name("checksum");
  config.mutable_model_metrics()->add_metric_control();
  (*config.mutable_metric_tags())["team"] = "vision";
  config.mutable_output(0)->set_is_non_linear_format_io(true);
  config.mutable_ensemble_scheduling()->add_step()->set_model_namespace("n");
  EXPECT_EQ(UnusedSettings(config),
            (std::vector<std::string>{"model_operations", "model_repository_agents",
                                      "model_metrics", "is_non_linear_format_io", "metric_tags",
                                      "ensemble_scheduling.step.model_namespace"}));
}

}  // namespace
}  // namespace inferpool::modelserver
