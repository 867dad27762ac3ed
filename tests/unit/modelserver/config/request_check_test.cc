#include "modelserver/config/request_check.h"

#include <gtest/gtest.h>

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

inference::ModelConfig Config(int max_batch_size) {
  inference::ModelConfig config;
  config.set_name("m");
  config.set_max_batch_size(max_batch_size);
  auto& a = *config.add_input();
  a.set_name("a");
  a.set_data_type(inference::TYPE_UINT8);
  a.add_dims(2);
  auto& b = *config.add_input();
  b.set_name("b");
  b.set_data_type(inference::TYPE_UINT8);
  b.add_dims(-1);
  config.add_output()->set_name("y");
  config.add_output()->set_name("z");
  return config;
}

struct Input {
  std::string name;
  Shape shape;
  inference::DataType datatype = inference::TYPE_UINT8;
};

// The status of a request with these inputs, filled with zeros.
absl::Status Check(int max_batch_size, const std::vector<Input>& inputs) {
  inference::ModelInferRequest request;
  for (const Input& input : inputs) {
    AddRawInput(request, input.name, input.datatype, input.shape)
        .assign(*ByteSize(input.datatype, input.shape), '\0');
  }
  const auto list = ReadInputs(request);
  EXPECT_TRUE(list.ok()) << list.status();
  const auto ordered = OrderInputs(Config(max_batch_size), *list);
  if (ordered.ok()) {
    EXPECT_EQ((*ordered)[0].name, "a");
    EXPECT_EQ((*ordered)[1].name, "b");
  }
  return ordered.status();
}

TEST(Requests, ThatFitAreOrderedAsConfigured) {
  EXPECT_TRUE(Check(0, {{"b", {7}}, {"a", {2}}}).ok());
  EXPECT_TRUE(Check(0, {{"a", {2}}, {"b", {0}}}).ok());
  EXPECT_TRUE(Check(4, {{"a", {4, 2}}, {"b", {4, 9}}}).ok());
}

TEST(Requests, ThatDoNotFitAreInvalid) {
  const auto invalid = [](int max_batch_size, const std::vector<Input>& inputs) {
    return Check(max_batch_size, inputs).code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(invalid(0, {}));
  EXPECT_TRUE(invalid(0, {{"a", {2}}}));
  EXPECT_TRUE(invalid(0, {{"a", {2}}, {"b", {1}}, {"c", {1}}}));
  EXPECT_TRUE(invalid(0, {{"a", {2}}, {"c", {1}}}));
  EXPECT_TRUE(invalid(0, {{"a", {3}}, {"b", {1}}}));
  EXPECT_TRUE(invalid(0, {{"a", {1, 2}}, {"b", {1}}}));
  EXPECT_TRUE(invalid(0, {{"a", {2}, inference::TYPE_INT8}, {"b", {1}}}));
  EXPECT_TRUE(invalid(4, {{"a", {5, 2}}, {"b", {5, 9}}}));
  EXPECT_TRUE(invalid(4, {{"a", {0, 2}}, {"b", {0, 9}}}));
  EXPECT_TRUE(invalid(4, {{"a", {2, 2}}, {"b", {3, 9}}}));
  EXPECT_TRUE(invalid(4, {{"a", {2}}, {"b", {9}}}));
}

TEST(Requests, TheTextSaysWhatIsExpected) {
  const absl::Status status = Check(4, {{"a", {1, 3}}, {"b", {1, 1}}});
  EXPECT_EQ(Message(status), "input 'a' of model 'm' has shape [1,3], expected [-1,2]");
}

TEST(RequestedOutputs, MustBeTheModelsAndAskedForOnce) {
  const auto check = [](std::vector<std::string_view> names) {
    return ChooseOutputs(Config(0), names).status().code();
  };
  EXPECT_EQ(check({}), absl::StatusCode::kOk);
  EXPECT_EQ(check({"z", "y"}), absl::StatusCode::kOk);
  EXPECT_EQ(check({"z", "z"}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(check({"x"}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(*ChooseOutputs(Config(0), std::vector<std::string_view>{"z", "y"}),
            (std::vector<int>{1, 0}));
  EXPECT_EQ(*ChooseOutputs(Config(0), {}), (std::vector<int>{0, 1}));
}

}  // namespace
}  // namespace inferpool::modelserver
