#include "worker/streams/ingest.h"

#include <gtest/gtest.h>

namespace inferpool::streams {
namespace {

TEST(IngestTest, AModelOnThisMachineHasAsManyThreadsAsProcessors) {
  Config config;
  config.streams.workers = 2;
  config.modelserver.enabled = true;
  EXPECT_EQ(ThreadsFor(config, 8, 4), 2);
  EXPECT_EQ(ThreadsFor(config, 8, 1), 1);
  EXPECT_EQ(ThreadsFor(config, 1, 64), 1);
  config.streams.mode = "async";
  EXPECT_EQ(ThreadsFor(config, 8, 4), 8);
}

TEST(IngestTest, AServerThatBatchesHasAllThreads) {
  Config config;
  config.streams.workers = 2;
  config.modelserver.enabled = false;
  EXPECT_EQ(ThreadsFor(config, 8, 4), 8);
  config.streams.mode = "sync";
  EXPECT_EQ(ThreadsFor(config, 8, 4), 2);
}

}  // namespace
}  // namespace inferpool::streams
