// A picture's inference: its row in shared memory, the call, and the outputs where they came to
// lie. Brings arena, regions, aggregator and client together.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "shared/base/status.h"
#include "worker/backend/request_batcher.h"
#include "worker/backend/catalog.h"
#include "worker/backend/rpc/client.h"
#include "worker/backend/shm/arena_pool.h"
#include "worker/backend/shm/shared_regions.h"

namespace inferpool::backend {

struct InferenceOptions {
  Transport transport = Transport::kAuto;
  std::size_t arena_bytes = std::size_t{64} << 20;
  std::size_t message_bytes = std::size_t{256} << 20;
  BatchLimits batch = {};   // max_rows 1: each request goes alone
  std::string domain = {};  // as in arena.h
};

// Make it after the fork; it has a background thread, which sweeps what dead workers left in
// /dev/shm (sweep.h), now and every 5 s. Thread safe; outlives its rows.
class Inference {
  struct Calls;  // of one model

 public:
  // One picture's place. One thread.
  class Row {
   public:
    // To be filled in before Infer, and gone after it.
    std::span<std::byte> bytes() const { return row_.bytes(); }
    // Once; as Aggregator::Row::Infer.
    absl::StatusOr<Aggregator::RowAnswer> Infer() { return row_.Infer(); }

   private:
    friend class Inference;
    Row(std::shared_ptr<Calls> calls, Aggregator::Row row)
        : calls_(std::move(calls)), row_(std::move(row)) {}

    std::shared_ptr<Calls> calls_;  // outlives the row
    Aggregator::Row row_;
  };

  Inference(const Client& client, InferenceOptions options);
  // Takes the names of its own segments away, at the servers too; waits two seconds at most.
  ~Inference();
  Inference(const Inference&) = delete;
  Inference& operator=(const Inference&) = delete;

  // As Client::CheckAdmits.
  absl::Status CheckAdmits() const { return client_.CheckAdmits(); }

  // A place for one picture's input, in shared memory when there is room; to be written and sent
  // soon (Aggregator::Row). `row_shape` is without a batch dimension. RESOURCE_EXHAUSTED: no
  // memory.
  absl::StatusOr<Row> Begin(const std::shared_ptr<const Model>& model,
                            std::span<const std::int64_t> row_shape, std::size_t row_bytes,
                            const CallLimits& limits);

 private:
  std::shared_ptr<Calls> CallsOf(const std::shared_ptr<const Model>& model);
  Lease Allocate(std::size_t bytes, bool last);
  absl::StatusOr<Aggregator::Answer> Send(const Model& model, const Aggregator::Rows& rows,
                                          const CallLimits& limits);
  void Sweep(Clock::duration time);
  void SweepNowAndThen(const std::stop_token& stop);

  const Client& client_;
  const InferenceOptions options_;
  ArenaPool arenas_;
  SharedRegions regions_;

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Calls>> calls_;  // guarded by mutex_; by model name

  std::mutex sweep_mutex_;
  std::condition_variable_any sweep_wake_;
  std::jthread sweeper_;  // last: ends first
};

}  // namespace inferpool::backend
