#include "worker/vision/families/output_numbers.h"

#include <gtest/gtest.h>

#include <cstring>

#include "shared/base/status.h"
#include "tests/unit/worker/vision/families/answers.h"

namespace inferpool::vision {
namespace {

std::vector<float> Values(const Numbers& numbers) {
  return {numbers.values().begin(), numbers.values().end()};
}

TEST(OutputNumbersTest, ReadsEveryDatatypeAsFloats) {
  for (const char* datatype : {"FP32", "FP16", "INT32"}) {
    Answer answer;
    answer.Add("x", datatype, {1, 2, 2}, {1, -2, 3, 4});
    const auto numbers = ReadOutput(answer.views(), "x", 2);
    ASSERT_TRUE(numbers.ok()) << numbers.status();
    EXPECT_EQ(Values(*numbers), (std::vector<float>{1, -2, 3, 4}));
    EXPECT_EQ(numbers->shape(), (std::vector<std::size_t>{2, 2}));
    EXPECT_EQ(numbers->Row(1)[0], 3);
  }
}

TEST(OutputNumbersTest, ReadsFromAnyAddress) {
  const float values[] = {1.5F, 2.5F};
  alignas(4) std::byte memory[9];
  std::memcpy(memory + 1, values, 8);
  const std::int64_t shape[] = {2};
  const std::vector<TensorView> views = {
      {"x", inference::TYPE_FP32, shape, std::span(memory).subspan(1)}};
  const auto numbers = ReadOutput(views, "x", 1);
  ASSERT_TRUE(numbers.ok());
  EXPECT_EQ(Values(*numbers), (std::vector<float>{1.5F, 2.5F}));
}

TEST(OutputNumbersTest, SurvivesBeingMoved) {
  Answer answer;
  answer.Add("x", "FP16", {2}, {1, 2});
  auto numbers = ReadOutput(answer.views(), "x", 1);
  ASSERT_TRUE(numbers.ok());
  const Numbers moved = *std::move(numbers);
  EXPECT_EQ(Values(moved), (std::vector<float>{1, 2}));
}

TEST(OutputNumbersTest, DropsOnlyLengthsOfOne) {
  Answer answer;
  answer.Add("x", "FP32", {1, 3, 1, 1}, {1, 2, 3});
  EXPECT_EQ(ReadOutput(answer.views(), "x", 1)->shape(), std::vector<std::size_t>{3});
  EXPECT_FALSE(ReadOutput(answer.views(), "x", 2).ok());
  EXPECT_EQ(ReadOutput(answer.views(), "x", 3)->shape(), (std::vector<std::size_t>{3, 1, 1}));
  answer.Add("y", "FP32", {2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_FALSE(ReadOutput(answer.views(), "y", 1).ok());
}

TEST(OutputNumbersTest, SaysWhatIsWrong) {
  Answer answer;
  answer.Add("x", "FP32", {2, 2}, {1, 2, 3, 4});
  const std::int64_t shape[] = {2, 3};
  answer.views()[0].shape = shape;
  const auto numbers = ReadOutput(answer.views(), "x", 2);
  EXPECT_EQ(numbers.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Message(numbers.status()),
            "the model's output x (FP32 [2, 3], 16 bytes) does not have the bytes that its shape "
            "takes");
}

}  // namespace
}  // namespace inferpool::vision
