#include "modelserver/repository/model_table.h"

#include <gtest/gtest.h>

namespace inferpool::modelserver {
namespace {

TEST(ModelTables, HoldSoManyModelsAndForgetUnloadedOnesForNewOnes) {
  ModelTable table;
  EXPECT_TRUE(table.Expect("a", 2).ok());
  EXPECT_TRUE(table.Expect("b", 2).ok());
  EXPECT_TRUE(absl::IsUnavailable(table.Expect("c", 2)));
  EXPECT_TRUE(table.Expect("b", 2).ok()) << "it has its place";
  table.Fail("a", "broken");
  EXPECT_TRUE(absl::IsUnavailable(table.Expect("c", 2))) << "the index tells of it";
  table.Unload("a");
  ASSERT_EQ(table.Index().size(), 2U);
  EXPECT_EQ(table.Index()[0].reason, "unloaded");
  EXPECT_TRUE(table.Expect("c", 2).ok());
  ASSERT_EQ(table.Index().size(), 2U);
  EXPECT_EQ(table.Index()[0].name, "b");
  EXPECT_EQ(table.Index()[1].name, "c");
}

}  // namespace
}  // namespace inferpool::modelserver
