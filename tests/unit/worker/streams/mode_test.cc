#include "worker/streams/mode.h"

#include <gtest/gtest.h>

namespace inferpool::streams {
namespace {

using std::chrono::seconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

Config Auto(int processes) {
  Config config;
  config.streams.workers = processes;
  return config;
}

TEST(ModeTest, AModelOnThisMachineHasAsManyThreadsAsProcessors) {
  EXPECT_EQ(Mode(Auto(2), 8, 4).At(kStart), (Width{.threads = 2, .group = 1}));
  EXPECT_EQ(Mode(Auto(2), 8, 1).At(kStart).threads, 1);
  EXPECT_EQ(Mode(Auto(2), 1, 64).At(kStart).threads, 1);
}

TEST(ModeTest, AModelThatBatchesElsewhereHasAllThreads) {
  Mode mode(Auto(2), 8, 4);
  EXPECT_EQ(mode.most_threads(), 8);
  mode.Saw(false, kStart);
  EXPECT_EQ(mode.At(kStart).threads, 2);
  mode.Saw(true, kStart);
  EXPECT_EQ(mode.At(kStart), (Width{.threads = 8, .group = 16}));
  mode.Saw(false, kStart + seconds(9));  // of another camera
  EXPECT_EQ(mode.At(kStart + seconds(9)).threads, 8);
  EXPECT_EQ(mode.At(kStart + seconds(10)).threads, 2);
}

TEST(ModeTest, TheConfigurationHasTheLastWord) {
  Config config = Auto(2);
  config.streams.mode = "sync";
  Mode sync(config, 8, 4);
  sync.Saw(true, kStart);
  EXPECT_EQ(sync.At(kStart).threads, 2);
  EXPECT_EQ(sync.most_threads(), 2);
  config.streams.mode = "async";
  config.batch.max = 32;
  EXPECT_EQ(Mode(config, 8, 4).At(kStart), (Width{.threads = 8, .group = 32}));
}

TEST(ModeTest, OurOwnServerBatchesNowhereElse) {
  Config config = Auto(1);
  config.modelserver.enabled = true;
  config.modelserver.listen = "unix:own";
  config.backend.targets = {"unix:own", "ipv4:other"};
  backend::Model model{.description = {}, .plan = absl::UnknownError(""), .servers = {0}};
  model.description.max_batch_size = 8;
  EXPECT_FALSE(BatchesElsewhere(model, config));
  model.servers = {0, 1};
  EXPECT_TRUE(BatchesElsewhere(model, config));
  model.description.max_batch_size = 1;
  EXPECT_FALSE(BatchesElsewhere(model, config));
}

}  // namespace
}  // namespace inferpool::streams
