#include "modelserver/service/top_classes.h"

#include <gtest/gtest.h>

#include <limits>

namespace inferpool::modelserver {
namespace {

using Shape = std::vector<std::int64_t>;

template <typename T>
absl::StatusOr<std::vector<std::string>> Top(const std::vector<T>& values, const Shape& shape,
                                             std::int64_t count, bool batches,
                                             const std::vector<std::string>& labels = {}) {
  const TensorView view{.name = "scores",
                        .datatype = DatatypeOf<T>,
                        .shape = shape,
                        .data = std::as_bytes(std::span(values))};
  const auto top = FindTopClasses(view, count, batches, labels);
  if (!top.ok()) return top.status();
  const auto elements = DecodeBytes(std::as_bytes(std::span(top->raw)), *ElementCount(top->shape));
  if (!elements.ok()) return elements.status();
  return std::vector<std::string>(elements->begin(), elements->end());
}

TEST(TopClassesTest, AreTheHighestValuesWithIndexAndLabel) {
  EXPECT_EQ(*Top<float>({0.25F, 2, -1, 0.5F}, {4}, 2, false, {"cat", "dog", "bird"}),
            (std::vector<std::string>{"2.000000:1:dog", "0.500000:3"}));
  EXPECT_EQ(*Top<std::int8_t>({-3, 7, 7}, {3}, 3, false),
            (std::vector<std::string>{"7:1", "7:2", "-3:0"}));
}

TEST(TopClassesTest, AClassWithoutANameHasNone) {
  EXPECT_EQ(*Top<std::int32_t>({5, 6}, {2}, 2, false, {"cat", ""}),
            (std::vector<std::string>{"6:1", "5:0:cat"}));
}

TEST(TopClassesTest, AreOfEachRowOfABatch) {
  EXPECT_EQ(*Top<std::int32_t>({1, 2, 9, 4, 3, 5}, {2, 3}, 1, true),
            (std::vector<std::string>{"9:2", "5:2"}));
  EXPECT_EQ(*Top<std::int32_t>({}, {0, 3}, 1, true), std::vector<std::string>());
}

TEST(TopClassesTest, AreNoMoreThanThereAre) {
  EXPECT_EQ(Top<double>({1, 2}, {2}, 5, false)->size(), 2U);
  EXPECT_EQ(Top<double>({}, {0}, 5, false)->size(), 0U);
}

TEST(TopClassesTest, AreOfAMillionElementsARowAtMost) {
  const std::vector<std::uint8_t> million(1'000'000, 1);
  EXPECT_TRUE(Top(million, {1'000'000}, 1, false).ok());
  EXPECT_TRUE(Top(std::vector<std::uint8_t>(2'000'000), {2, 1'000'000}, 1, true).ok());
  const std::vector<std::uint8_t> more(2'000'002, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(Top(more, {2, 1'000'001}, 1, true).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Top(more, {2'000'002}, 1, false).status()));
}

TEST(TopClassesTest, WhatIsNoNumberComesLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto top = Top<float>({nan, 1, nan, 3, nan}, {5}, 5, false);
  ASSERT_TRUE(top.ok());
  EXPECT_EQ((*top)[0], "3.000000:3");
  EXPECT_EQ((*top)[1], "1.000000:1");
}

TEST(TopClassesTest, NeedNumbersAndACount) {
  const Shape none = {0};
  const TensorView text{
      .name = "scores", .datatype = inference::TYPE_STRING, .shape = none, .data = {}};
  EXPECT_TRUE(absl::IsInvalidArgument(FindTopClasses(text, 1, false, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Top<float>({1}, {1}, 0, false).status()));
}

}  // namespace
}  // namespace inferpool::modelserver
