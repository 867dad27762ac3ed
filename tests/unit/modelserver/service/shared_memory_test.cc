#include "modelserver/service/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <string>

#include "shared/base/bus_error.h"
#include "shared/base/file_descriptor.h"

namespace inferpool::modelserver {
namespace {

using absl::StatusCode;

const auto kPage = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

// A segment of two pages, full of 'x'.
class Segment {
 public:
  Segment()
      : key_(fmt::format("/inferpool_shared_memory_test_{}", getpid())),
        file_(shm_open(key_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
    const std::string content(2 * kPage, 'x');
    EXPECT_EQ(write(file_.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
  }
  ~Segment() { shm_unlink(key_.c_str()); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  SharedMemoryDescription All(const std::string& name) const {
    return {.name = name, .key = key_, .offset = 0, .byte_size = 2 * kPage};
  }
  void Shorten() { EXPECT_EQ(ftruncate(file_.get(), static_cast<off_t>(kPage)), 0); }
  void Put(std::size_t at, char byte) {
    EXPECT_EQ(pwrite(file_.get(), &byte, 1, static_cast<off_t>(at)), 1);
  }

 private:
  const std::string key_;
  FileDescriptor file_;
};

char At(const SharedMemoryPart& part, std::size_t i) {
  return static_cast<char>(static_cast<volatile std::byte*>(part.memory.data())[i]);
}

StatusCode FindCode(const SharedMemoryTable& table, const std::string& name, std::uint64_t offset,
                    std::uint64_t byte_size) {
  return table.Find(name, offset, byte_size).status().code();
}

TEST(SharedMemory, APartIsTheClientsOwnBytes) {
  Segment segment;
  segment.Put(kPage + 7, 'y');
  SharedMemoryTable table;
  SharedMemoryDescription wanted = segment.All("r");
  wanted.offset = kPage + 5;  // no page begins there
  wanted.byte_size = 10;
  ASSERT_TRUE(table.Register(wanted).ok());
  const auto part = table.Find("r", 1, 9);
  ASSERT_TRUE(part.ok()) << part.status();
  ASSERT_EQ(part->memory.size(), 9U);
  EXPECT_EQ(At(*part, 0), 'x');
  EXPECT_EQ(At(*part, 1), 'y');
  segment.Put(kPage + 6, 'z');
  EXPECT_EQ(At(*part, 0), 'z');
}

TEST(SharedMemory, RefusesWhatIsNotThere) {
  Segment segment;
  SharedMemoryTable table;
  SharedMemoryDescription wanted = segment.All("r");
  wanted.byte_size += 1;
  EXPECT_EQ(table.Register(wanted).code(), StatusCode::kInvalidArgument);
  wanted.offset = ~std::uint64_t{0};
  wanted.byte_size = 2;
  EXPECT_EQ(table.Register(wanted).code(), StatusCode::kInvalidArgument);
  wanted = segment.All("r");
  wanted.key += "_missing";
  EXPECT_EQ(table.Register(wanted).code(), StatusCode::kInternal);
  EXPECT_EQ(table.Register(segment.All("")).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(table.Register(segment.All("r")).ok());
  EXPECT_EQ(table.Register(segment.All("r")).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(FindCode(table, "s", 0, 1), StatusCode::kNotFound);
  EXPECT_EQ(FindCode(table, "r", 2 * kPage, 0), StatusCode::kOk);
  EXPECT_EQ(FindCode(table, "r", 2 * kPage, 1), StatusCode::kInvalidArgument);
  EXPECT_EQ(FindCode(table, "r", ~std::uint64_t{0}, 2), StatusCode::kInvalidArgument);
  EXPECT_EQ(FindCode(table, "r", 1, ~std::uint64_t{0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(table.Status("s").status().code(), StatusCode::kNotFound);
}

TEST(SharedMemory, ARegionInUseStaysUntilItsLastUseHasEnded) {
  Segment segment;
  SharedMemoryTable table;
  for (const char* name : {"r", ""}) {
    ASSERT_TRUE(table.Register(segment.All("r")).ok());
    auto part = table.Find("r", 0, 1);
    ASSERT_TRUE(part.ok()) << part.status();
    table.Unregister(name);
    EXPECT_EQ(At(*part, 0), 'x');
    EXPECT_EQ(table.Status("r")->size(), 1U);
    EXPECT_EQ(table.Register(segment.All("r")).code(), StatusCode::kAlreadyExists);
    auto another = table.Find("r", 0, 1);
    ASSERT_TRUE(another.ok()) << another.status();
    part = absl::CancelledError();
    EXPECT_EQ(table.Status("")->size(), 1U);
    another = absl::CancelledError();
    EXPECT_TRUE(table.Status("")->empty());
    EXPECT_EQ(table.Status("r").status().code(), StatusCode::kNotFound);
    EXPECT_EQ(FindCode(table, "r", 0, 1), StatusCode::kNotFound);
  }
}

TEST(SharedMemory, TheKeysOfTritonsOwnSegmentsAreReserved) {
  SharedMemoryTable table;
  for (const char* key :
       {"triton_python_backend_shm_region_1", "/triton_python_backend_shm_region_1",
        "///triton_python_backend_shm_region_", "/", "///"}) {
    EXPECT_EQ(table.Register({.name = "r", .key = key, .offset = 0, .byte_size = 1}).code(),
              StatusCode::kInvalidArgument)
        << key;
  }
}

TEST(SharedMemory, AllRegionsGoAtOnce) {
  Segment segment;
  SharedMemoryTable table;
  ASSERT_TRUE(table.Register(segment.All("r")).ok());
  ASSERT_TRUE(table.Register(segment.All("s")).ok());
  table.Unregister("unknown");
  ASSERT_EQ(table.Status("")->size(), 2U);
  table.Unregister("");
  EXPECT_TRUE(table.Status("")->empty());
}

TEST(SharedMemory, AShortenedSegmentGivesZerosThenErrors) {
  Segment segment;
  SharedMemoryTable table;
  ASSERT_TRUE(table.Register(segment.All("r")).ok());
  const auto part = table.Find("r", 0, 2 * kPage);
  ASSERT_TRUE(part.ok()) << part.status();
  segment.Shorten();
  EXPECT_EQ(At(*part, 0), 'x');
  EXPECT_EQ(At(*part, kPage), '\0');
  EXPECT_EQ(FindCode(table, "r", 0, 1), StatusCode::kInternal);
  // Long again, but not the memory that is mapped.
  segment.Put(2 * kPage - 1, 'x');
  EXPECT_EQ(FindCode(table, "r", 0, 1), StatusCode::kInternal);
}

TEST(SharedMemory, AShortenedSegmentIsNoticedBeforeItIsReadAlsoInItsMiddle) {
  Segment segment;
  SharedMemoryTable table;
  SharedMemoryDescription second = segment.All("r");
  second.offset = kPage;
  second.byte_size = kPage;
  ASSERT_TRUE(table.Register(second).ok());
  ASSERT_TRUE(table.Find("r", 0, kPage).ok());
  segment.Shorten();  // the file has as many bytes as the region, but not where that lies
  EXPECT_EQ(FindCode(table, "r", 0, 1), StatusCode::kInternal);
}

TEST(SharedMemory, MemoryThatNobodyGuardsIsNotMapped) {
  Segment segment;
  SharedMemoryTable table;
  std::array<char, 1> memory{};
  std::deque<BusErrorGuard> guards;
  while (guards.size() < kMaxGuards) {
    guards.emplace_back(memory.data(), memory.size());
  }
  EXPECT_EQ(table.Register(segment.All("r")).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(FindCode(table, "r", 0, 1), StatusCode::kNotFound);
  guards.pop_back();
  EXPECT_TRUE(table.Register(segment.All("r")).ok());
}

}  // namespace
}  // namespace inferpool::modelserver
