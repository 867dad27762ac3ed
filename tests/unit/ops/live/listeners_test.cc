#include "ops/live/listeners.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <thread>

namespace inferpool::live {
namespace {

std::shared_ptr<const Answer> Make(const std::string& camera, std::uint64_t id,
                                   bool has_findings = true, std::size_t bytes = 2) {
  return std::make_shared<const Answer>(Answer{.id = {id, 0},
                                               .camera = camera,
                                               .has_findings = has_findings,
                                               .json = std::string(bytes, 'x')});
}

bool IsReadable(const Listener& listener) {
  pollfd event{.fd = listener.fd(), .events = POLLIN, .revents = 0};
  return poll(&event, 1, 0) > 0;
}

TEST(ListenersTest, EachGetsTheAnswersOfItsCamera) {
  Listeners listeners;
  const auto door = *listeners.Join("door", "", false);
  const auto found = *listeners.Join("door", "", true);
  const auto yard = *listeners.Join("yard", "", false);
  listeners.Put(Make("door", 1));
  listeners.Put(Make("door", 2, /*has_findings=*/false));
  EXPECT_TRUE(IsReadable(*door));
  EXPECT_EQ(door->Take().answers.size(), 2U);
  EXPECT_FALSE(IsReadable(*door));
  EXPECT_EQ(found->Take().answers.size(), 1U);
  EXPECT_FALSE(IsReadable(*yard));
  EXPECT_TRUE(door->Take().answers.empty());
}

TEST(ListenersTest, TheyAreCounted) {
  std::atomic<std::uint32_t> count = 0;
  Listeners listeners(count);
  auto one = *listeners.Join("a", "", false);
  const auto other = *listeners.Join("b", "", false);
  EXPECT_EQ(count, 2U);
  one.reset();
  EXPECT_EQ(count, 1U);
}

TEST(ListenersTest, OneThatIsTooSlowIsTold) {
  Listeners listeners;
  const auto many = *listeners.Join("a", "", false);
  for (std::uint64_t i = 0; i <= Listener::kMaxQueued; ++i) listeners.Put(Make("a", i));
  Listener::Taken taken = many->Take();
  EXPECT_EQ(taken.answers.size(), Listener::kMaxQueued);
  EXPECT_TRUE(taken.is_too_slow);
  listeners.Put(Make("a", 100));
  EXPECT_TRUE(many->Take().answers.empty()) << "there would be a hole before it";
  many->Restart();
  listeners.Put(Make("a", 101));
  taken = many->Take();
  EXPECT_EQ(taken.answers.size(), 1U);
  EXPECT_FALSE(taken.is_too_slow);

  const auto large = *listeners.Join("b", "", false);
  listeners.Put(Make("b", 1, true, 10 * Listener::kMaxQueuedBytes));
  EXPECT_FALSE(large->Take().is_too_slow) << "one always fits";
  listeners.Put(Make("b", 2));
  listeners.Put(Make("b", 3, true, Listener::kMaxQueuedBytes));
  EXPECT_TRUE(large->Take().is_too_slow);
}

TEST(ListenersTest, ThereAreSoManyAndNoMore) {
  Listeners listeners({.all = 3, .of_a_key = 2});
  const auto first = *listeners.Join("a", "shop", false);
  auto second = *listeners.Join("b", "shop", false);
  EXPECT_TRUE(absl::IsResourceExhausted(listeners.Join("a", "shop", false).status()));
  const auto other = *listeners.Join("a", "other", false);
  EXPECT_TRUE(absl::IsResourceExhausted(listeners.Join("a", "", false).status()));
  second.reset();
  EXPECT_EQ(listeners.size(), 2U);
  EXPECT_TRUE(listeners.Join("a", "shop", false).ok());
}

TEST(ListenersTest, TheEndIsToldToAll) {
  Listeners listeners;
  const auto listener = *listeners.Join("a", "", false);
  listeners.Put(Make("a", 1));
  listeners.End();
  const Listener::Taken taken = listener->Take();
  EXPECT_EQ(taken.answers.size(), 1U);
  EXPECT_TRUE(taken.is_over);
  EXPECT_TRUE(absl::IsUnavailable(listeners.Join("a", "", false).status()));
}

TEST(ListenersTest, TheyMayComeAndGoWhileAnswersCome) {
  Listeners listeners;
  std::thread answers([&] {
    for (std::uint64_t i = 0; i < 20'000; ++i) listeners.Put(Make("a", i));
  });
  for (int i = 0; i < 500; ++i) {
    const auto listener = *listeners.Join("a", "key", false);
    listener->Take();
  }
  answers.join();
  EXPECT_EQ(listeners.size(), 0U);
}

}  // namespace
}  // namespace inferpool::live
