// What a model's configuration says of its batches.
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "modelserver/execution/batch_queue.h"

namespace inferpool::modelserver {
namespace {

using std::chrono::microseconds;
using Sizes = std::vector<std::int64_t>;

TEST(BatchPolicy, OfAModelThatDoesNotBatchDynamically) {
  inference::ModelConfig config;
  EXPECT_FALSE(PolicyOf(config).dynamic);
  EXPECT_EQ(PolicyOf(config).max_rows, 1);
  config.set_max_batch_size(8);
  EXPECT_FALSE(PolicyOf(config).dynamic);
  EXPECT_EQ(PolicyOf(config).max_rows, 8);
}

TEST(BatchPolicy, ThePreferredSizeDefaultsToTheMaximum) {
  inference::ModelConfig config;
  config.set_max_batch_size(8);
  config.mutable_dynamic_batching();
  const BatchPolicy policy = PolicyOf(config);
  EXPECT_TRUE(policy.dynamic);
  EXPECT_EQ(policy.preferred, Sizes({8}));
  EXPECT_EQ(policy.delay, microseconds(0));
  EXPECT_EQ(policy.levels, 1U);
}

TEST(BatchPolicy, TheLargestQueueIsThatOfAnyLevel) {
  inference::ModelConfig config;
  EXPECT_EQ(LargestQueue(config), 0U);
  inference::ModelDynamicBatching& batching = *config.mutable_dynamic_batching();
  batching.mutable_default_queue_policy()->set_max_queue_size(7);
  EXPECT_EQ(LargestQueue(config), 7U);
  (*batching.mutable_priority_queue_policy())[2].set_max_queue_size(9);
  (*batching.mutable_priority_queue_policy())[3].set_max_queue_size(8);
  EXPECT_EQ(LargestQueue(config), 9U);
}

TEST(BatchPolicy, TakesAllThatTheConfigurationSays) {
  inference::ModelConfig config;
  config.set_max_batch_size(16);
  inference::ModelDynamicBatching& batching = *config.mutable_dynamic_batching();
  batching.add_preferred_batch_size(8);
  batching.add_preferred_batch_size(4);
  batching.set_max_queue_delay_microseconds(500);
  batching.set_priority_levels(3);
  batching.set_default_priority_level(2);
  batching.mutable_default_queue_policy()->set_max_queue_size(7);
  inference::ModelQueuePolicy& low = (*batching.mutable_priority_queue_policy())[3];
  low.set_timeout_action(inference::ModelQueuePolicy::DELAY);
  low.set_default_timeout_microseconds(900);
  low.set_allow_timeout_override(true);
  const BatchPolicy policy = PolicyOf(config);
  EXPECT_EQ(policy.max_rows, 16);
  EXPECT_EQ(policy.preferred, Sizes({4, 8}));
  EXPECT_EQ(policy.delay, microseconds(500));
  EXPECT_EQ(policy.levels, 3U);
  EXPECT_EQ(policy.default_level, 2U);
  EXPECT_EQ(policy.default_queue.max_size, 7U);
  EXPECT_FALSE(policy.default_queue.delay_expired);
  ASSERT_EQ(policy.queues.size(), 1U);
  EXPECT_TRUE(policy.queues.at(3).delay_expired);
  EXPECT_EQ(policy.queues.at(3).timeout, microseconds(900));
  EXPECT_TRUE(policy.queues.at(3).allow_timeout_override);
}

}  // namespace
}  // namespace inferpool::modelserver
