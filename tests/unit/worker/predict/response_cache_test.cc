#include "worker/predict/response_cache.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "shared/base/log.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::predict {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

const ResponseCache::Time kNow = std::chrono::system_clock::now();

CacheKey Key(int number) {
  return Sha256Of(std::to_string(number));
}

CachedAnswer Answer(const std::string& body) {
  return {"application/json", body};
}

class ResponseCacheTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { log::Init(log::Level::kError, "test"); }

  ResponseCache Make(std::size_t entries, int writer = 0) const {
    return ResponseCache(folder_ / "cache", entries, seconds(60), writer);
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "cache")) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }
  void Change(std::size_t offset, char change) const {
    ASSERT_EQ(Files().size(), 1U);
    std::fstream file(Files()[0], std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char was = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(was ^ change));
  }

  const test::TemporaryFolder folder_;
};

TEST_F(ResponseCacheTest, WhatIsStoredIsFoundByAllProcesses) {
  ResponseCache cache = Make(16);
  EXPECT_FALSE(cache.Find(Key(1), kNow));
  const CachedAnswer binary{"image/png", std::string("\0\x89PNG\xff", 6)};
  cache.Store(Key(1), binary, kNow);
  cache.Store(Key(2), Answer(""), kNow);
  EXPECT_EQ(cache.Find(Key(1), kNow), binary);
  const ResponseCache other = Make(16, 1);
  EXPECT_EQ(other.Find(Key(1), kNow), binary);
  EXPECT_EQ(other.Find(Key(2), kNow), Answer(""));
  EXPECT_FALSE(other.Find(Key(3), kNow));
}

TEST_F(ResponseCacheTest, AnAnswerIsForgottenAfterItsTime) {
  ResponseCache cache = Make(16);
  cache.Store(Key(1), Answer("a"), kNow);
  EXPECT_TRUE(cache.Find(Key(1), kNow + seconds(59)));
  EXPECT_FALSE(cache.Find(Key(1), kNow + seconds(60)));
  EXPECT_FALSE(cache.Find(Key(1), kNow - seconds(1))) << "the clock was set back";
  cache.Store(Key(1), Answer("b"), kNow + seconds(60));
  EXPECT_EQ(cache.Find(Key(1), kNow + seconds(61)), Answer("b"));
  EXPECT_EQ(Files().size(), 1U);
}

TEST_F(ResponseCacheTest, ThereAreNeverMoreFilesThanEntries) {
  for (const std::size_t entries : {1U, 2U, 3U, 4U, 7U, 16U}) {
    ResponseCache cache = Make(entries);
    ResponseCache::Sweep(folder_ / "cache", entries);
    for (int i = 0; i < 200; ++i) {
      cache.Store(Key(i), Answer(std::to_string(i)), kNow + std::chrono::milliseconds(i));
      EXPECT_EQ(cache.Find(Key(i), kNow + seconds(1)), Answer(std::to_string(i))) << entries;
    }
    EXPECT_LE(Files().size(), entries);
    EXPECT_GE(Files().size(), entries - entries % 4);
  }
}

TEST_F(ResponseCacheTest, TheOldestMakesRoom) {
  ResponseCache cache = Make(4);  // all keys have the same places
  for (int i = 0; i < 4; ++i) cache.Store(Key(i), Answer("a"), kNow + seconds(i));
  cache.Store(Key(0), Answer("again"), kNow + seconds(4));
  cache.Store(Key(9), Answer("b"), kNow + seconds(5));
  EXPECT_FALSE(cache.Find(Key(1), kNow + seconds(5)));
  for (const int i : {0, 2, 3, 9}) EXPECT_TRUE(cache.Find(Key(i), kNow + seconds(5))) << i;
}

TEST_F(ResponseCacheTest, ADamagedFileIsNoAnswer) {
  ResponseCache cache = Make(1);
  cache.Store(Key(1), Answer("the body of it"), kNow);
  const std::size_t size = fs::file_size(Files()[0]);
  for (std::size_t offset = 0; offset < size; ++offset) {
    Change(offset, 1);
    EXPECT_FALSE(cache.Find(Key(1), kNow)) << offset;
    Change(offset, 1);
  }
  EXPECT_TRUE(cache.Find(Key(1), kNow));
  for (const std::size_t length :
       {size + 1, size - 1, std::size_t{60}, std::size_t{8}, std::size_t{0}}) {
    fs::resize_file(Files()[0], length);
    EXPECT_FALSE(cache.Find(Key(1), kNow)) << length;
  }
  cache.Store(Key(1), Answer("again"), kNow);
  EXPECT_EQ(cache.Find(Key(1), kNow), Answer("again"));
}

TEST_F(ResponseCacheTest, WhatIsNoFileIsNoAnswer) {
  ResponseCache cache = Make(1);
  cache.Store(Key(1), Answer("a"), kNow);
  const fs::path place = Files()[0];
  fs::remove(place);
  fs::create_directory(place);
  EXPECT_FALSE(cache.Find(Key(1), kNow));
  cache.Store(Key(1), Answer("a"), kNow);  // which fails, and harms nobody
  fs::remove(place);
  fs::create_symlink("/dev/zero", place);
  EXPECT_FALSE(cache.Find(Key(1), kNow));
}

TEST_F(ResponseCacheTest, ALargeAnswerIsNotKept) {
  ResponseCache cache = Make(4);
  cache.Store(Key(1), Answer(std::string(ResponseCache::kMaxAnswerBytes, 'x')), kNow);
  cache.Store(Key(2), Answer(std::string(ResponseCache::kMaxAnswerBytes + 1, 'x')), kNow);
  EXPECT_TRUE(cache.Find(Key(1), kNow));
  EXPECT_FALSE(cache.Find(Key(2), kNow));
}

TEST_F(ResponseCacheTest, AnAnswerThatIsNotKeptDisplacesNoOther) {
  ResponseCache cache = Make(1);  // all keys have the same place
  const auto too_long = Answer(std::string(ResponseCache::kMaxAnswerBytes + 1, 'x'));
  const CachedAnswer odd{std::string(200, 't'), "b"};
  cache.Store(Key(2), too_long, kNow);
  cache.Store(Key(2), odd, kNow);
  EXPECT_TRUE(Files().empty());
  cache.Store(Key(1), Answer("a"), kNow);
  cache.Store(Key(2), too_long, kNow + seconds(1));
  cache.Store(Key(2), odd, kNow + seconds(1));
  EXPECT_EQ(cache.Find(Key(1), kNow + seconds(1)), Answer("a"));
  EXPECT_EQ(Files().size(), 1U);
}

TEST_F(ResponseCacheTest, AnswersAreForThePoolsUserOnly) {
  const mode_t was = umask(0);
  ResponseCache cache = Make(4);
  for (int i = 0; i < 4; ++i) cache.Store(Key(i), Answer("a"), kNow);
  umask(was);
  ASSERT_EQ(Files().size(), 4U);
  for (const fs::path& file : Files()) {
    EXPECT_EQ(fs::status(file).permissions(), fs::perms::owner_read | fs::perms::owner_write)
        << file;
    EXPECT_EQ(fs::status(file.parent_path()).permissions(), fs::perms::owner_all);
  }
}

TEST_F(ResponseCacheTest, AFolderThatCannotBeWrittenKeepsNothing) {
  ResponseCache cache("/proc/nowhere", 4, seconds(60), 0);
  cache.Store(Key(1), Answer("a"), kNow);
  EXPECT_FALSE(cache.Find(Key(1), kNow));
}

TEST_F(ResponseCacheTest, ACacheOfAnotherSizeIsSweptAway) {
  Make(16).Store(Key(1), Answer("a"), kNow);
  Make(8).Store(Key(1), Answer("b"), kNow);
  ResponseCache::Sweep(folder_ / "cache", 8);
  EXPECT_EQ(Files().size(), 1U);
  EXPECT_EQ(Make(8).Find(Key(1), kNow), Answer("b"));
  ResponseCache::Sweep(folder_ / "cache", 0);
  EXPECT_TRUE(Files().empty());
  ResponseCache::Sweep(folder_ / "elsewhere", 0);  // there is none
}

// Bodies that tell whether they are whole and whose they are.
std::string Body(int number) {
  std::string body;
  while (body.size() < 60'000) body += std::to_string(number) + ",";
  return body;
}

TEST_F(ResponseCacheTest, WritersThatAreKilledLeaveWholeAnswersAndNoLitter) {
  constexpr int kKeys = 12;
  ResponseCache reader = Make(8);
  int found = 0;
  for (int round = 0; round < 30; ++round) {
    std::vector<pid_t> writers;
    for (int writer = 1; writer <= 2; ++writer) {
      const pid_t child = fork();
      if (child == 0) {
        ResponseCache cache = Make(8, writer);
        for (int i = 0;; ++i) {
          cache.Store(Key(i % kKeys), Answer(Body(i % kKeys)), std::chrono::system_clock::now());
        }
      }
      ASSERT_GT(child, 0);
      writers.push_back(child);
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    while (std::chrono::steady_clock::now() < until) {
      for (int i = 0; i < kKeys; ++i) {
        const auto answer = reader.Find(Key(i), std::chrono::system_clock::now());
        if (!answer) continue;
        ++found;
        ASSERT_EQ(answer, Answer(Body(i)));
      }
    }
    for (const pid_t writer : writers) {
      kill(writer, SIGKILL);
      waitpid(writer, nullptr, 0);
    }
  }
  EXPECT_GT(found, 0);
  EXPECT_LE(Files().size(), 8U + 2U) << "a file of each writer's at most";
}

TEST_F(ResponseCacheTest, ThreadsOfAWorkerShareIt) {
  ResponseCache cache = Make(8);
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 200; ++i) {
        const int number = (thread + i) % 12;
        const auto now = std::chrono::system_clock::now();
        if (i % 2 == 0) cache.Store(Key(number), Answer(Body(number)), now);
        const auto answer = cache.Find(Key(number), now + std::chrono::milliseconds(100));
        EXPECT_TRUE(!answer || answer == Answer(Body(number)));
      }
    });
  }
}

}  // namespace
}  // namespace inferpool::predict
