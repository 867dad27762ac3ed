// The instances of one model, leased to one caller at a time each.
//
// First come, first served: an instance that is given back goes to the caller that has waited
// longest. Every model has a pool of its own, so no model waits for another's. Thread safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "modelserver/engine.h"
#include "shared/deadline.h"
#include "shared/status.h"

namespace inferpool::modelserver {

class InstancePool {
 public:
  // An instance, for as long as this lives; the pool must outlive it.
  class Lease {
   public:
    Lease(InstancePool& pool, Engine& engine) : pool_(&pool), engine_(&engine) {}
    ~Lease();
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&&) = delete;

    Engine& engine() const { return *engine_; }

   private:
    InstancePool* pool_;  // null once moved from
    Engine* engine_;
  };

  // `instances` is not empty. At most `max_waiting` callers wait at a time.
  InstancePool(std::vector<std::unique_ptr<Engine>> instances, std::size_t max_waiting);

  // Waits for an instance. `cancelled` is asked every 50 ms, without a lock held. Errors:
  // DEADLINE_EXCEEDED, CANCELLED, and UNAVAILABLE when `max_waiting` callers wait already.
  absl::StatusOr<Lease> Acquire(const Deadline& deadline, const std::function<bool()>& cancelled);

  std::size_t size() const { return instances_.size(); }

 private:
  struct Waiter {
    std::condition_variable granted;
    Engine* engine = nullptr;
  };

  void Release(Engine& engine);

  const std::vector<std::unique_ptr<Engine>> instances_;
  const std::size_t max_waiting_;

  std::mutex mutex_;
  // Guarded by mutex_. An idle instance and a waiter never exist together.
  std::vector<Engine*> idle_;
  std::list<Waiter*> waiting_;  // oldest first; each lives on its caller's stack
};

}  // namespace inferpool::modelserver
