// POST /v1/predict/{model}/batch: several pictures, each answered on its own.
#pragma once

#include <atomic>
#include <string>

#include "worker/http/exchange.h"

namespace inferpool::predict {

// Counts the threads that a worker's batches may start besides the threads that serve requests.
// Thread safe.
class SpareThreads {
 public:
  explicit SpareThreads(int count) : free_(count) {}

  // Takes up to `wanted` of those that are free, and returns how many. The caller gives them back.
  [[nodiscard]] int Take(int wanted);
  void GiveBack(int count) { free_ += count; }

 private:
  std::atomic<int> free_;
};

// Works on the pictures in parallel, in the calling thread and in as many spare ones as there are.
// A picture's problem stands in its place and does not affect the others; the status is 200 when
// the request itself is good. The stages' times are the sums over all pictures.
fcgi::Response PredictBatch(http::Exchange& exchange, const http::Services& services,
                            const backend::ModelVersion& model);

}  // namespace inferpool::predict
