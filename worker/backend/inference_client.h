// A picture's inference: its row in shared memory, the call, and the outputs where they came to
// lie. Brings batches, memory, regions and client together; the call itself is one loop, Call.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "worker/backend/catalog.h"
#include "worker/backend/request_batcher.h"
#include "worker/backend/rpc/client.h"
#include "worker/backend/rpc/reconnections.h"
#include "worker/backend/shm/shared_regions.h"
#include "worker/backend/shm/tensor_memory.h"

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
class InferenceClient {
  struct ModelBatches;

 public:
  // One picture's row. Others may wait for it: call Infer, or destroy it, without delay. For one
  // thread.
  class Row {
   public:
    // To be filled in before Infer, and gone after it; has what was there before.
    std::span<std::byte> bytes() const { return row_.bytes(); }

    // To be called once. Returns soon after the request's deadline, and soon after its client has
    // left. Exception: a leader whose client has left finishes its batch first. A row is
    // sent alone when it was not ready to go with its batch, when the batch failed in a way that
    // another row can be guilty of, or when the leader's deadline was too early for it. Errors:
    // those of the model server and of client.h; CANCELLED when the client left; DEADLINE_EXCEEDED.
    absl::StatusOr<RowAnswer> Infer();

   private:
    friend class InferenceClient;
    Row(InferenceClient& client, std::shared_ptr<ModelBatches> batches, RequestBatcher::Row row);

    InferenceClient* client_;
    std::shared_ptr<ModelBatches> batches_;  // outlives the row
    RequestBatcher::Row row_;
  };

  // Several inputs of one request, which go in one call and with nobody else's. For one thread.
  class Rows {
   public:
    int count() const { return count_; }

    // To be filled in before Infer, and gone after it; has what was there before.
    std::span<std::byte> bytes(int row) const;

    // To be called once: the answers, in order. Times and errors as Row::Infer.
    absl::StatusOr<std::vector<RowAnswer>> Infer();

   private:
    friend class InferenceClient;
    Rows(InferenceClient& client, std::shared_ptr<const Model> model,
         std::span<const std::int64_t> row_shape, std::size_t row_bytes, int count, Lease memory,
         CallLimits limits);

    InferenceClient* client_;
    std::shared_ptr<const Model> model_;
    std::vector<std::int64_t> row_shape_;  // without a batch dimension
    std::size_t row_bytes_;
    int count_;
    std::shared_ptr<Lease> memory_;
    CallLimits limits_;
  };

  InferenceClient(const Client& client, InferenceOptions options);
  // Takes the names of its own segments away, at the servers too; waits two seconds at most.
  ~InferenceClient();
  InferenceClient(const InferenceClient&) = delete;
  InferenceClient& operator=(const InferenceClient&) = delete;

  // As Client::CheckAdmits, of the model's servers.
  absl::Status CheckAdmits(const Model& model) const { return client_.CheckAdmits(model.servers); }

  // A place for one picture's input, in shared memory when there is room. `row_shape` is without a
  // batch dimension. RESOURCE_EXHAUSTED: no memory.
  absl::StatusOr<Row> Begin(const std::shared_ptr<const Model>& model,
                            std::span<const std::int64_t> row_shape, std::size_t row_bytes,
                            const CallLimits& limits);

  // Places for `rows` inputs, or for as many as the model takes in one call and there is memory
  // for; at least one. The rest as Begin.
  absl::StatusOr<Rows> BeginRows(const std::shared_ptr<const Model>& model,
                                 std::span<const std::int64_t> row_shape, std::size_t row_bytes,
                                 int rows, const CallLimits& limits);

 private:
  std::shared_ptr<ModelBatches> BatchesOf(const std::shared_ptr<const Model>& model);

  // Makes one ModelInfer, in the thread of a request. Returns soon after the limits' deadline, and
  // soon after nobody waits. Retires the memory of an attempt that the server may still be at work
  // on. May run in several threads at once, also for parts of the same memory.
  RequestBatcher::BatchAnswer Call(const Model& model, const BatchCall& call);

  // The servers that describe the model as it is here, without those that do not have it any more;
  // empty when there is nothing to choose from.
  std::vector<std::size_t> ServersOf(const Model& model) const;

  // What there is to choose from of these servers. Where shared memory is a must, those that do not
  // take the call's now come last.
  std::vector<Candidate> Candidates(const std::vector<std::size_t>& servers, const BatchCall& call);

  // How the input goes to that server: by shared memory where it can be, but not `by_message`.
  absl::StatusOr<SharedRegions::Way> WayTo(std::size_t target, const BatchCall& call,
                                           bool by_message);

  void Sweep(Clock::duration time);
  void SweepNowAndThen(const std::stop_token& stop);
  // Waits until the next sweep. Has an eye meanwhile on servers that say no to shared memory.
  void AwaitSweep(const std::stop_token& stop);

  const Client& client_;
  const InferenceOptions options_;
  TensorMemory memory_;
  SharedRegions regions_;
  Reconnections reconnections_;  // the sweeper's

  Mutex mutex_;
  std::map<ModelVersion, std::vector<std::shared_ptr<ModelBatches>>> batches_
      ABSL_GUARDED_BY(mutex_);

  Mutex sweep_mutex_;
  bool refused_ ABSL_GUARDED_BY(sweep_mutex_) = false;  // a server has said no just now
  std::condition_variable_any sweep_wake_;
  std::jthread sweeper_;  // last: ends first
};

}  // namespace inferpool::backend
