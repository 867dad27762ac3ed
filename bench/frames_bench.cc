// Reads of frames in shared memory against a producer in another process that overwrites them as
// fast as it can. Each frame is one word all over: a read that sees two different words is torn.
//
//   frames_bench --reads 10000000

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "shared/frames/inferpool_frames.h"
#include "shared/frames/segments.h"

namespace {

namespace frames = inferpool::frames;
using inferpool::Clock;

struct Options {
  std::uint64_t reads = 10'000'000;
  unsigned readers = 2;
  std::uint32_t slots = 4;
  std::size_t bytes = 4'096;
};

// What the producer tells: the name of its segment, and the generation of each slot's latest frame.
struct Told {
  std::array<std::atomic<std::uint64_t>, INFERPOOL_FRAMES_MAX_SLOTS> generations{};
  std::array<char, 64> segment{};
  std::atomic<bool> ready = false;
  std::atomic<std::uint64_t> written = 0;
  std::atomic<std::uint64_t> dropped = 0;
};

[[noreturn]] void Produce(const Options& options, Told& told) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  inferpool_frames ring{};
  if (inferpool_frames_open(&ring, options.slots, options.bytes) != 0) {
    std::perror("/dev/shm");
    _exit(1);
  }
  std::memcpy(told.segment.data(), ring.name, sizeof ring.name);
  std::array<char, INFERPOOL_FRAMES_TEXT> text{};
  while (true) {
    void* memory = inferpool_frames_begin(&ring, options.bytes);
    if (memory == nullptr) {
      told.dropped.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    const std::uint32_t slot = ring.next;
    const std::uint64_t generation = inferpool_frames_slots_of(ring.memory)[slot].generation + 1;
    for (std::size_t at = 0; at < options.bytes; at += sizeof generation) {
      std::memcpy(static_cast<char*>(memory) + at, &generation, sizeof generation);
    }
    const inferpool_frame frame = {"grey", 64, static_cast<std::uint32_t>(options.bytes / 64), 64,
                                   options.bytes};
    if (inferpool_frames_end(&ring, &frame, text.data(), text.size()) != 0) _exit(2);
    told.generations[slot].store(generation, std::memory_order_release);
    told.written.fetch_add(1, std::memory_order_relaxed);
    told.ready.store(true, std::memory_order_release);
  }
}

struct Counts {
  std::uint64_t read = 0;
  std::uint64_t gone = 0;
  std::uint64_t torn = 0;
  std::uint64_t not_whole = 0;
};

Counts Read(const Options& options, std::uint64_t reads, const Told& told) {
  frames::Segments segments;
  frames::Handle handle{.segment = told.segment.data(),
                        .bytes = options.bytes,
                        .format = frames::Format::kGrey,
                        .width = 64,
                        .height = static_cast<int>(options.bytes / 64),
                        .stride = 64,
                        .boot_id = frames::BootId()};
  Counts counts;
  std::vector<std::uint64_t> words(options.bytes / sizeof(std::uint64_t));
  const inferpool::TimePoint now = Clock::now();
  for (std::uint32_t turn = 0; counts.read < reads; ++turn) {
    handle.slot = turn % options.slots;
    handle.generation = told.generations[handle.slot].load(std::memory_order_acquire);
    const auto pin = segments.Get(handle, now);
    if (!pin.ok()) {
      if (!absl::IsNotFound(pin.status())) {
        fmt::print(stderr, "{}\n", pin.status().ToString());
        std::exit(1);
      }
      ++counts.gone;
      continue;
    }
    std::memcpy(words.data(), pin->bytes().data(), options.bytes);
    ++counts.read;
    if (!pin->IsWhole()) ++counts.not_whole;
    std::uint64_t differ = 0;
    for (const std::uint64_t word : words) differ |= word ^ handle.generation;
    if (differ != 0) ++counts.torn;
  }
  return counts;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Reads of frames in shared memory against a racing writer");
  app.add_option("--reads", options.reads, "in all")->capture_default_str();
  app.add_option("--readers", options.readers, "threads, each a reader of its own")
      ->capture_default_str()
      ->check(CLI::Range(1U, 60U));
  app.add_option("--slots", options.slots, "of the ring")
      ->capture_default_str()
      ->check(CLI::Range(1U, INFERPOOL_FRAMES_MAX_SLOTS));
  app.add_option("--bytes", options.bytes, "of a frame, a multiple of 64")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  void* memory =
      mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  auto& told = *new (memory) Told;
  const pid_t producer = fork();
  if (producer == 0) Produce(options, told);
  while (!told.ready.load(std::memory_order_acquire)) {
    if (waitpid(producer, nullptr, WNOHANG) == producer) return 1;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto begin = Clock::now();
  std::vector<Counts> counts(options.readers);
  {
    std::vector<std::jthread> readers;
    for (Counts& own : counts) {
      readers.emplace_back([&] { own = Read(options, options.reads / options.readers, told); });
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  kill(producer, SIGKILL);
  waitpid(producer, nullptr, 0);
  inferpool_frames_sweep();
  Counts all;
  for (const Counts& own : counts) {
    all.read += own.read;
    all.gone += own.gone;
    all.torn += own.torn;
    all.not_whole += own.not_whole;
  }
  fmt::print(
      "{} reads of {} bytes in {:.1f} s ({:.2f} us each), {} torn, {} not whole; {} handles were "
      "overwritten, {} frames written, {} dropped because all slots were pinned\n",
      all.read, options.bytes, seconds, 1e6 * seconds * options.readers / double(all.read),
      all.torn, all.not_whole, all.gone, told.written.load(), told.dropped.load());
  return all.torn == 0 && all.not_whole == 0 ? 0 : 1;
}
