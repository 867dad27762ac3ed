// POST /v1/predict/{model}/batch: several pictures, each answered on its own.
#pragma once

#include <atomic>
#include <string>

#include "worker/http/exchange.h"

namespace inferpool::api {

// How many threads a worker's batches may have besides those that serve requests. Thread safe.
class SpareThreads {
 public:
  explicit SpareThreads(int count) : free_(count) {}

  // Up to `wanted` of those that are free; to be given back.
  int Take(int wanted);
  void GiveBack(int count) { free_ += count; }

 private:
  std::atomic<int> free_;
};

// The pictures are worked on at once, by the calling thread and as many spare ones as there are. A
// picture's problem stands in its place and spoils no other; 200 when the request itself is good.
// The stages' times are those of all pictures together.
fcgi::Response PredictBatch(Exchange& exchange, const Services& services, const std::string& model);

}  // namespace inferpool::api
