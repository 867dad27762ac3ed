#include "shared/scoreboard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>

namespace inferpool {
namespace {

// A single writer needs no atomic addition: a load and a store leave the lane's cache line alone.
void Add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) {
  counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

std::uint64_t Get(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<WorkerState>::is_always_lock_free);

}  // namespace

struct alignas(64) Scoreboard::Head {
  std::atomic<std::uint64_t> worker_starts;
  std::atomic<std::uint64_t> worker_crashes;
  std::atomic<std::uint64_t> worker_recycles;
};

void Lane::CountStatus(int status) {
  const auto found = std::ranges::find(kCountedStatuses, status);
  const auto index =
      std::min<std::ptrdiff_t>(found - kCountedStatuses.begin(), std::ssize(kCountedStatuses) - 1);
  Add(by_status[static_cast<std::size_t>(index)], 1);
}

void Lane::CountBytes(std::uint64_t in, std::uint64_t out) {
  Add(bytes_in, in);
  Add(bytes_out, out);
}

void Lane::CountStage(Stage stage, std::chrono::microseconds duration) {
  Histogram& histogram = stages[static_cast<std::size_t>(stage)];
  const long us = std::max(0L, static_cast<long>(duration.count()));
  const auto bound = std::ranges::lower_bound(kBucketBoundsUs, us);
  Add(histogram.buckets[static_cast<std::size_t>(bound - kBucketBoundsUs.begin())], 1);
  Add(histogram.sum_us, static_cast<std::uint64_t>(us));
}

Scoreboard::Scoreboard(int workers, int threads) : workers_(workers), threads_(threads) {
  const auto slots = static_cast<std::size_t>(workers);
  const std::size_t lanes = slots * static_cast<std::size_t>(threads);
  bytes_ = sizeof(Head) + slots * sizeof(Slot) + lanes * sizeof(Lane);
  const int fd = memfd_create("inferpool-scoreboard", MFD_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "memfd_create");
  void* memory = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(bytes_)) == 0) {
    memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  const int error = errno;
  close(fd);
  if (memory == MAP_FAILED) throw std::system_error(error, std::generic_category(), "scoreboard");
  // The memory is zero, and zero is every member's start.
  auto* bytes = static_cast<std::byte*>(memory);
  head_ = new (bytes) Head{};
  auto* slot = reinterpret_cast<Slot*>(bytes + sizeof(Head));
  slots_ = {slot, slots};
  std::uninitialized_value_construct_n(slot, slots);
  auto* lane = reinterpret_cast<Lane*>(slot + slots);
  lanes_ = {lane, lanes};
  std::uninitialized_value_construct_n(lane, lanes);
}

Scoreboard::~Scoreboard() {
  munmap(head_, bytes_);
}

std::span<Lane> Scoreboard::lanes(int worker) const {
  const auto threads = static_cast<std::size_t>(threads_);
  return lanes_.subspan(static_cast<std::size_t>(worker) * threads, threads);
}

void Scoreboard::CountStart() const {
  Add(head_->worker_starts, 1);
}

void Scoreboard::CountEnd(bool crashed) const {
  Add(crashed ? head_->worker_crashes : head_->worker_recycles, 1);
}

void Scoreboard::Vacate(int worker) const {
  slot(worker).pid.store(0, std::memory_order_relaxed);
  slot(worker).state.store(WorkerState::kEmpty, std::memory_order_relaxed);
  for (Lane& lane : lanes(worker)) lane.busy.store(0, std::memory_order_relaxed);
}

Totals Scoreboard::Sum() const {
  Totals totals;
  totals.worker_starts = Get(head_->worker_starts);
  totals.worker_crashes = Get(head_->worker_crashes);
  totals.worker_recycles = Get(head_->worker_recycles);
  for (const Slot& slot : slots_) {
    ++totals.workers_by_state[static_cast<std::size_t>(slot.state.load(std::memory_order_relaxed))];
  }
  for (const Lane& lane : lanes_) {
    for (std::size_t i = 0; i < lane.by_status.size(); ++i) {
      totals.by_status[i] += Get(lane.by_status[i]);
    }
    totals.bytes_in += Get(lane.bytes_in);
    totals.bytes_out += Get(lane.bytes_out);
    totals.in_work += lane.busy.load(std::memory_order_relaxed);
    for (std::size_t stage = 0; stage < kStages; ++stage) {
      for (std::size_t i = 0; i < kBuckets; ++i) {
        totals.stages[stage].buckets[i] += Get(lane.stages[stage].buckets[i]);
      }
      totals.stages[stage].sum_us += Get(lane.stages[stage].sum_us);
    }
  }
  return totals;
}

}  // namespace inferpool
