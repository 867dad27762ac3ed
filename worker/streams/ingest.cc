#include "worker/streams/ingest.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "fcgi/serving/crash_scope.h"
#include "shared/base/log.h"
#include "shared/base/processors.h"
#include "shared/base/termination.h"
#include "shared/frames/segments.h"
#include "worker/streams/frame_queue.h"
#include "worker/streams/frame_work.h"
#include "worker/streams/mode.h"
#include "worker/streams/reader.h"

namespace inferpool::streams {

void Ingest(const IngestContext& context) {
  const Mode mode(context.config, context.thread_slots.size(), UsableProcessors());
  const std::span<ThreadSlot> thread_slots = context.thread_slots.first(mode.most_threads());
  FrameQueue queue;
  frames::Segments segments;
  std::atomic<std::uint64_t> served = 0;
  std::vector<std::jthread> threads;
  const auto work = [&](ThreadSlot& thread_slot) {
    const fcgi::ThreadCrashScope owner(thread_slot);
    while (true) {
      std::vector<Frame> frames = queue.Take();
      const std::size_t count = frames.size();
      if (count == 0) return;
      queue.Finish(WorkOn(std::move(frames), context.services, segments, thread_slot));
      const std::uint64_t quota = context.slot.quota.load(std::memory_order_relaxed);
      if (served.fetch_add(count, std::memory_order_relaxed) + count < quota || quota == 0)
        continue;
      if (context.slot.due.exchange(1, std::memory_order_relaxed) == 0) context.wakeup.Wake();
    }
  };
  for (ThreadSlot& thread_slot : thread_slots) {
    threads.emplace_back([&work, &thread_slot] { work(thread_slot); });
  }
  Reader reader(context, queue, mode);
  std::jthread reading([&reader] { reader.Run(); });
  const auto set_state = [&](ProcessState state) {
    context.slot.process.state.store(state, std::memory_order_release);
    context.wakeup.Wake();
  };
  log::Info("ingest ready", {{"threads", thread_slots.size()}});
  set_state(ProcessState::kReady);
  while (!AwaitTermination(std::chrono::seconds(1))) segments.Tidy(Clock::now());
  set_state(ProcessState::kDraining);
  reader.Stop();
  reading.join();
  queue.Close();
  threads.clear();  // joins
  log::Info("ingest drained", {{"served", served.load()}});
}

}  // namespace inferpool::streams
