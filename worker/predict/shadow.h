// Shadows: another model is asked about a picture that was answered, to see how well the two agree.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <thread>

#include "shared/board/heavy_steps.h"
#include "shared/board/scoreboard.h"
#include "worker/http/exchange.h"
#include "worker/predict/picture_inference.h"
#include "worker/predict/shadow_queue.h"

namespace inferpool::predict {

// A worker's shadows. One thread of the lowest priority asks, one picture at a time, and only while
// no more than half of the worker's threads have a request; it gives up after 5 s. What it holds,
// the pictures that wait included, is at most 64 MB and 256 pictures. What finds no room, what
// comes up while the worker is busy, and what is stale by then is dropped and counted. A crash is
// blamed on the picture with the shadow's model, so that clients may send the picture further on.
// Thread safe.
class ShadowRunner {
 public:
  // `services` and `thread_slots` (the worker's) must outlive it.
  ShadowRunner(const http::Services& services, std::span<const ThreadSlot> thread_slots);
  ~ShadowRunner();
  ShadowRunner(const ShadowRunner&) = delete;
  ShadowRunner& operator=(const ShadowRunner&) = delete;

  // Takes the picture of an answer that was sent. Does not wait.
  void Offer(std::shared_ptr<const ShadowJob> job);

 private:
  void Run(const std::stop_token& stop);
  // False: the picture was dropped.
  bool Ask(const ShadowJob& job, const std::stop_token& stop, std::size_t& grown);
  void CountDropped(const ShadowJob& job);
  bool IsLoaded() const;

  const http::Services services_;
  const std::span<const ThreadSlot> thread_slots_;
  const std::unique_ptr<ThreadSlot> own_slot_;  // nobody else's: what it works on is no request
  ShadowQueue queue_;
  std::jthread thread_;  // last: ends first
};

// The picture of the request as a job for the shadow that its route has for it; null when there is
// none. `number`: the picture's in a batch, whose pictures are chosen each on its own.
// `parameters`: those that it was answered with.
std::shared_ptr<const ShadowJob> ShadowJobOf(const http::Exchange& exchange,
                                             const http::Services& services,
                                             std::string_view picture,
                                             std::optional<std::size_t> number,
                                             const http::PredictParameters& parameters,
                                             const Prediction& prediction);

}  // namespace inferpool::predict
