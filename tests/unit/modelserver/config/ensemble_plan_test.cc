#include "modelserver/config/ensemble_plan.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/unit/modelserver/config/configured.h"

namespace inferpool::modelserver {
namespace {

std::string Tensor(const std::string& name, const std::string& type = "FP32",
                   const std::string& dims = "4") {
  return "{ name: '" + name + "' data_type: TYPE_" + type + " dims: [ " + dims + " ] }";
}

std::string Step(const std::string& model, const std::string& in, const std::string& out,
                 const std::string& more = "") {
  return "step { model_name: '" + model + "' model_version: -1 " +
         "input_map { key: 'in' value: '" + in + "' } output_map { key: 'out' value: '" + out +
         "' } " + more + "}";
}

class Plans : public testing::Test {
 protected:
  Plans() {
    Add("one", "input " + Tensor("in") + " output " + Tensor("out"));
    Add("two", "input [" + Tensor("in") + "," + Tensor("in2") + "] output [" + Tensor("out") + "," +
                   Tensor("out2") + "]");
    Add("ints", "input " + Tensor("in", "INT32") + " output " + Tensor("out", "INT32"));
    Add("long", "input " + Tensor("in", "FP32", "-1, 5") + " output " + Tensor("out", "FP32", "5"));
    Add("batch", "max_batch_size: 4 input " + Tensor("in") + " output " + Tensor("out"));
  }

  void Add(const std::string& name, const std::string& text) { models_[name] = Config(text, name); }

  absl::StatusOr<EnsemblePlan> Plan(const std::string& steps,
                                    const std::string& tensors =
                                        "input { name: 'x' data_type: "
                                        "TYPE_FP32 dims: [ 4 ] } output { "
                                        "name: 'y' data_type: TYPE_FP32 "
                                        "dims: [ 4 ] }") {
    const inference::ModelConfig config =
        Config(tensors + " ensemble_scheduling { " + steps + " }", "ensemble");
    return PlanEnsemble(config, [this](const std::string& name, const std::string& version) {
      const auto found = models_.find(name);
      return found == models_.end() || (!version.empty() && version != "1") ? nullptr
                                                                            : &found->second;
    });
  }

  std::string Why(const std::string& steps, const std::string& tensors = "") {
    return std::string(Message((tensors.empty() ? Plan(steps) : Plan(steps, tensors)).status()));
  }

  std::map<std::string, inference::ModelConfig> models_;
};

TEST_F(Plans, PutStepsInTheOrderOfTheirTensors) {
  const auto plan = Plan(Step("two", "b", "y", "input_map { key: 'in2' value: 'a' }") +
                         Step("one", "a", "b", "") + Step("one", "x", "a"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps.size(), 3U);
  EXPECT_EQ(plan->tensors, 4U);
  EXPECT_EQ(plan->steps[0].inputs[0].tensor, 0U);  // x
  EXPECT_EQ(plan->steps[0].outputs[0].tensor, plan->steps[1].inputs[0].tensor);
  EXPECT_EQ(plan->steps[2].model, "two");
  EXPECT_EQ(plan->steps[2].version, "");
  EXPECT_EQ(plan->steps[2].inputs.size(), 2U);
  EXPECT_EQ(plan->steps[2].outputs.size(), 1U);
  EXPECT_EQ(plan->outputs[0], plan->steps[2].outputs[0].tensor);
  EXPECT_FALSE(plan->read[plan->outputs[0]]);
  EXPECT_TRUE(plan->read[0]);
}

TEST_F(Plans, SayWhatIsWrongWithTheSteps) {
  const auto has = [this](const std::string& part, const std::string& steps) {
    const std::string why = Why(steps);
    EXPECT_NE(why.find(part), std::string::npos) << part << " in: " << why;
  };
  has("1 to 64 steps", "");
  has("not ready", Step("nobody", "x", "y"));
  has("its own step", Step("ensemble", "x", "y"));
  has("no step makes the tensor 'a'", Step("one", "a", "y"));
  has("no step makes the tensor 'y'", Step("one", "x", "a"));
  has("a cycle", Step("one", "a", "b") + Step("one", "b", "a") + Step("one", "x", "y"));
  has("a cycle", Step("one", "y", "y"));
  has("made twice", Step("one", "x", "y") + Step("one", "x", "y"));
  has("made twice", Step("one", "x", "x"));
  has("lacks its input 'in2'", Step("two", "x", "y"));
  has("'in9', which is not one of its inputs",
      Step("one", "x", "y", "input_map { key: 'in9' value: 'x' }"));
  has("'out9', which is not one of its outputs",
      Step("one", "x", "y", "output_map { key: 'out9' value: 'z' }"));
  has("tensor 'x' is FP32 [4] at one end and INT32 [4]", Step("ints", "x", "y"));
  has("tensor 'x' is FP32 [4] at one end and FP32 [-1,5]", Step("long", "x", "y"));
  has("FP32 [-1,4]", Step("batch", "x", "y"));
  std::string version = Step("one", "x", "y");
  version.replace(version.find("-1"), 2, "-2");
  has("model_version is -2", version);
  version.replace(version.find("-2"), 2, "3");
  has("not ready", version);
  std::string many;
  for (int i = 0; i < 65; ++i) many += Step("one", "x", "t" + std::to_string(i));
  has("1 to 64 steps", many);
}

TEST_F(Plans, HaveNoTensorThatGoesInAndOut) {
  const std::string why = Why(Step("one", "x", "z"), "input " + Tensor("x") + " output [" +
                                                         Tensor("z") + "," + Tensor("x") + "]");
  EXPECT_NE(why.find("'x' is an input and an output"), std::string::npos) << why;
}

TEST_F(Plans, BatchAsFarAsTheirModelsDo) {
  const std::string tensors = "input " + Tensor("x") + " output " + Tensor("y");
  EXPECT_EQ(Why(Step("batch", "x", "y"), "max_batch_size: 4 " + tensors), "");
  EXPECT_NE(Why(Step("batch", "x", "y"), "max_batch_size: 5 " + tensors)
                .find("max_batch_size is 4, the ensemble's 5"),
            std::string::npos);
  EXPECT_NE(Why(Step("one", "x", "y"), "max_batch_size: 1 " + tensors), "");
  // A batch written out as a dimension.
  EXPECT_EQ(Why(Step("batch", "x", "y"),
                "input " + Tensor("x", "FP32", "1, 4") + " output " + Tensor("y", "FP32", "-1, 4")),
            "");
}

}  // namespace
}  // namespace inferpool::modelserver
