#include "shared/board/quarantine.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace inferpool {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr TimePoint kNow{hours(100)};

// A quarantine in shared memory, as a scoreboard holds it.
class QuarantineTest : public testing::Test {
 protected:
  QuarantineTest()
      : memory_(mmap(nullptr, sizeof(Quarantine), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {}
  ~QuarantineTest() override { munmap(memory_, sizeof(Quarantine)); }

  Quarantine& quarantine() { return *static_cast<Quarantine*>(memory_); }

  static Quarantined Entry(const Digest& digest, TimePoint until = kNow + seconds(60),
                           std::string_view model = "faces") {
    return {.digest = digest,
            .model = ModelName(model),
            .request_id = RequestName("request"),
            .until_ns = ToNs(until)};
  }
  void Enter(const std::string& picture, TimePoint until = kNow + seconds(60)) {
    quarantine().Enter(Entry(DigestOf({}, picture), until));
  }
  bool Has(const std::string& picture, TimePoint now = kNow) {
    return quarantine().Has(DigestOf({}, picture), "faces", now);
  }

 private:
  void* memory_;
};

// From the reference implementation (vectors_sip128): the key is 00 to 0f, the text too.
TEST(DigestTest, IsThePublishedSipHashOf128Bits) {
  DigestKey key;
  std::iota(key.bytes.begin(), key.bytes.end(), std::uint8_t{0});
  EXPECT_EQ(ToHex(DigestOf(key, "")), "a3817f04ba25a8e66df67214c7550293");
  EXPECT_EQ(ToHex(DigestOf(key, std::string_view("\0", 1))), "da87c1d86b99af44347659119b22fc45");
}

TEST(DigestTest, DependsOnTheKey) {
  const auto one = RandomDigestKey();
  const auto other = RandomDigestKey();
  ASSERT_TRUE(one && other);
  EXPECT_NE(one->bytes, other->bytes);
  EXPECT_FALSE(DigestOf(*one, "picture") == DigestOf(*other, "picture"));
  EXPECT_EQ(DigestOf(*one, "picture"), DigestOf(*one, "picture"));
}

TEST(DigestTest, DiffersWithEveryByteAndLength) {
  const std::string picture(1'000, 'p');
  const Digest digest = DigestOf({}, picture);
  EXPECT_EQ(DigestOf({}, std::string(1'000, 'p')), digest);
  EXPECT_FALSE(DigestOf({}, std::string(999, 'p')) == digest);
  for (std::size_t i = 0; i < picture.size(); i += 37) {
    std::string other = picture;
    other[i] = 'q';
    EXPECT_FALSE(DigestOf({}, other) == digest) << i;
  }
}

TEST(DigestTest, ADigestOfZerosIsNotKnown) {
  EXPECT_FALSE(Digest{}.known());
  EXPECT_TRUE((Digest{.high = 0, .low = 1}).known());
  EXPECT_TRUE((Digest{.high = 1, .low = 0}).known());
  EXPECT_TRUE(DigestOf({}, "").known());
}

TEST(DigestTest, HexHas32DigitsWithTheHighHalfFirst) {
  EXPECT_EQ(ToHex({.high = 0x12, .low = 0xab}), "000000000000001200000000000000ab");
}

TEST_F(QuarantineTest, StartsEmpty) {
  EXPECT_FALSE(Has("a"));
  EXPECT_FALSE(quarantine().Has(Digest{}, "", kNow));
  EXPECT_TRUE(quarantine().List(kNow).empty());
}

TEST_F(QuarantineTest, HasWhatWasEnteredAndNothingElse) {
  Enter("a");
  Enter("b");
  EXPECT_TRUE(Has("a"));
  EXPECT_TRUE(Has("b"));
  EXPECT_FALSE(Has("c"));
  Digest near = DigestOf({}, "a");
  near.high ^= 1;
  EXPECT_FALSE(quarantine().Has(near, "faces", kNow));
}

TEST_F(QuarantineTest, APictureIsRefusedForTheModelThatItCrashedOnly) {
  Enter("a");
  EXPECT_FALSE(quarantine().Has(DigestOf({}, "a"), "plates", kNow));
  quarantine().Enter(Entry(DigestOf({}, "a"), kNow + seconds(1), "plates"));
  EXPECT_TRUE(quarantine().Has(DigestOf({}, "a"), "plates", kNow));
  EXPECT_TRUE(Has("a", kNow + seconds(2))) << "each has its own time";
}

TEST_F(QuarantineTest, AModelOfTheLongestNameIsFoundAgain) {
  const std::string longest(128, 'm');
  quarantine().Enter(Entry(DigestOf({}, "a"), kNow + seconds(1), longest));
  EXPECT_TRUE(quarantine().Has(DigestOf({}, "a"), longest, kNow));
  EXPECT_FALSE(quarantine().Has(DigestOf({}, "a"), longest.substr(1), kNow));
  const std::string cut(1000, 'm');  // it is kept as far as there is room
  quarantine().Enter(Entry(DigestOf({}, "b"), kNow + seconds(1), cut));
  EXPECT_TRUE(quarantine().Has(DigestOf({}, "b"), cut, kNow));
}

TEST_F(QuarantineTest, ItEndsAtItsTime) {
  Enter("a", kNow + seconds(10));
  EXPECT_TRUE(Has("a", kNow + seconds(10) - nanoseconds(1)));
  EXPECT_FALSE(Has("a", kNow + seconds(10)));
  EXPECT_EQ(quarantine().List(kNow + seconds(9)).size(), 1U);
  EXPECT_TRUE(quarantine().List(kNow + seconds(10)).empty());
}

TEST_F(QuarantineTest, EnteringItAgainExtendsItsTimeAndTakesNoSecondPlace) {
  Enter("a", kNow + seconds(10));
  Enter("a", kNow + seconds(20));
  EXPECT_TRUE(Has("a", kNow + seconds(15)));
  ASSERT_EQ(quarantine().List(kNow).size(), 1U);
  EXPECT_EQ(quarantine().List(kNow)[0].until_ns, ToNs(kNow + seconds(20)));
  for (std::size_t i = 0; i < 2 * Quarantine::kEntries; ++i) Enter("b");
  EXPECT_TRUE(Has("a"));
}

TEST_F(QuarantineTest, OneWhoseTimeWasOverCanBeEnteredAgain) {
  Enter("a", kNow + seconds(1));
  ASSERT_FALSE(Has("a", kNow + seconds(2)));
  Enter("a", kNow + seconds(10));
  EXPECT_TRUE(Has("a", kNow + seconds(2)));
}

TEST_F(QuarantineTest, AnUnknownDigestIsNotEntered) {
  quarantine().Enter(Entry(Digest{}));
  EXPECT_TRUE(quarantine().List(kNow).empty());
  EXPECT_FALSE(quarantine().Has(Digest{}, "faces", kNow));
}

TEST_F(QuarantineTest, TheListNamesModelAndRequest) {
  Enter("a");
  const auto list = quarantine().List(kNow);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].digest, DigestOf({}, "a"));
  EXPECT_EQ(list[0].model.view(), "faces");
  EXPECT_EQ(list[0].request_id.view(), "request");
}

TEST_F(QuarantineTest, TheOldestMakesRoom) {
  const auto name = [](std::size_t i) { return "picture " + std::to_string(i); };
  for (std::size_t i = 0; i < Quarantine::kEntries; ++i) Enter(name(i));
  EXPECT_EQ(quarantine().List(kNow).size(), Quarantine::kEntries);
  for (std::size_t i = 0; i < Quarantine::kEntries; ++i) EXPECT_TRUE(Has(name(i))) << i;
  for (std::size_t more = 0; more < 10; ++more) Enter(name(Quarantine::kEntries + more));
  EXPECT_EQ(quarantine().List(kNow).size(), Quarantine::kEntries);
  for (std::size_t i = 0; i < Quarantine::kEntries + 10; ++i) {
    EXPECT_EQ(Has(name(i)), i >= 10) << i;
  }
}

TEST_F(QuarantineTest, ClearTakesAllAndNewOnesCanBeEntered) {
  for (const char* picture : {"a", "b", "c"}) Enter(picture);
  quarantine().Clear();
  EXPECT_FALSE(Has("a"));
  EXPECT_TRUE(quarantine().List(kNow).empty());
  Enter("b");
  EXPECT_TRUE(Has("b"));
  EXPECT_EQ(quarantine().List(kNow).size(), 1U);
}

TEST_F(QuarantineTest, SeveralMayEnterAtOnce) {
  constexpr int kThreads = 6;
  constexpr int kEach = 40;
  std::atomic<bool> missed = false;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          const std::string picture = std::to_string(t) + "." + std::to_string(i);
          Enter(picture);
          if (!Has(picture)) missed = true;
        }
      });
    }
  }
  EXPECT_FALSE(missed);
  EXPECT_EQ(quarantine().List(kNow).size(), std::size_t{kThreads * kEach});
}

TEST_F(QuarantineTest, ReadersSeeWholeEntriesWhileOthersMakeRoom) {
  std::atomic<bool> stop = false;
  std::atomic<bool> wrong = false;
  std::atomic<int> seen = 0;
  std::vector<std::jthread> writers;
  for (int t = 0; t < 2; ++t) {
    writers.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) {
        const std::string text = std::to_string(t) + "." + std::to_string(i);
        Quarantined entry = Entry(DigestOf({}, text), kNow + seconds(60), text);
        entry.request_id = RequestName(text);
        quarantine().Enter(entry);
      }
    });
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  const auto latest = end + seconds(5);
  while (std::chrono::steady_clock::now() < (seen > 1'000 ? end : latest)) {
    for (const Quarantined& entry : quarantine().List(kNow)) {
      ++seen;
      if (entry.digest != DigestOf({}, entry.model.view()) ||
          entry.model.view() != entry.request_id.view()) {
        wrong = true;
      }
    }
  }
  stop = true;
  writers.clear();
  EXPECT_FALSE(wrong);
  EXPECT_GT(seen, 1'000);
}

TEST_F(QuarantineTest, WritersThatAreKilledInTheMidstBlockNobody) {
  for (std::size_t i = 0; i < Quarantine::kEntries; ++i) Enter("first " + std::to_string(i));
  for (int round = 0; round < 20; ++round) {
    const pid_t writer = fork();
    if (writer == 0) {
      for (int i = 0;; ++i) Enter(std::to_string(i));
    }
    usleep(2'000);
    kill(writer, SIGKILL);
    waitpid(writer, nullptr, 0);
    const std::string picture = "after " + std::to_string(round);
    Enter(picture);
    EXPECT_TRUE(Has(picture)) << round;
  }
  EXPECT_GE(quarantine().List(kNow).size(), Quarantine::kEntries - 20);
}

}  // namespace
}  // namespace inferpool
