#include "worker/analyze/analyze.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

namespace inferpool::analyze {
namespace {

using Names = std::vector<std::string>;

TEST(AnalyzeTest, TheModelsAreTakenOutOfTheQueryAndTheForm) {
  const auto of_query = std::get<Wanted>(TakeModels("iou=0.4&models=a%2Cb,two+words&max=3", {}));
  EXPECT_EQ(of_query.models, "a,b,two words");
  EXPECT_EQ(of_query.query, "iou=0.4&max=3");
  const auto of_form =
      std::get<Wanted>(TakeModels("iou=0.4", {{"confidence", "0.5"}, {"models", "a+b"}}));
  EXPECT_EQ(of_form.models, "a+b") << "a form's values are not encoded";
  ASSERT_EQ(of_form.fields.size(), 1U);
  EXPECT_EQ(of_form.fields[0].name, "confidence");
  const auto without = std::get<Wanted>(TakeModels("", {}));
  EXPECT_EQ(without.models, std::nullopt);
  EXPECT_EQ(std::get<Wanted>(TakeModels("models", {})).models, "");
}

TEST(AnalyzeTest, TheModelsMayBeGivenOnce) {
  for (const auto& [query, fields] :
       std::vector<std::pair<std::string, std::vector<http::FormField>>>{
           {"models=a&models=a", {}},
           {"models=a", {{"models", "b"}}},
           {"", {{"models", "a"}, {"models", "b"}}}}) {
    const auto taken = TakeModels(query, fields);
    ASSERT_TRUE(std::holds_alternative<http::Problem>(taken)) << query;
    EXPECT_EQ(std::get<http::Problem>(taken).status, 400);
    EXPECT_EQ(std::get<http::Problem>(taken).parameter, "models");
  }
}

TEST(AnalyzeTest, AListHasEachNameOnceAndNotTooMany) {
  EXPECT_EQ(std::get<Names>(SplitModels("a")), Names{"a"});
  EXPECT_EQ(std::get<Names>(SplitModels("b,a b,c@2")), (Names{"b", "a b", "c@2"}));
  std::string many = "m0";
  for (std::size_t i = 1; i < kMaxAnalyzed; ++i) many += ",m" + std::to_string(i);
  EXPECT_EQ(std::get<Names>(SplitModels(many)).size(), kMaxAnalyzed);
  for (const std::string& bad : Names{"", ",", "a,", ",a", "a,,b", "a,b,a", many + ",x"}) {
    EXPECT_TRUE(std::holds_alternative<http::Problem>(SplitModels(bad))) << bad;
  }
}

}  // namespace
}  // namespace inferpool::analyze
