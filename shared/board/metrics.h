// What is counted, in one table: the scoreboard stores it, the sidecar names it for Prometheus, the
// answer's timing_ms and Server-Timing use the stages' names.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace inferpool {

// The stages of a request, in the order in which it passes them. Durations in microseconds.
enum class Stage {
  kQueue,        // from nginx's hand-off until a thread accepted it
  kRead,         // its parameters and body
  kDecode,       // bytes to pixels
  kPreprocess,   // pixels to tensor
  kInfer,        // the call to the model server
  kPostprocess,  // tensors to answer
  kDraw,         // the answer as a picture, where that was asked for
  kTotal,        // from acceptance until the answer is ready
};

inline constexpr std::array<std::string_view, 8> kStageNames = {
    "queue", "read", "decode", "preprocess", "infer", "postprocess", "draw", "total"};
inline constexpr std::size_t kStages = kStageNames.size();

// Upper bounds of the histograms' buckets, in microseconds; one more bucket takes the rest.
inline constexpr std::array<long, 14> kBucketBoundsUs = {
    500,     1'000,   2'500,   5'000,     10'000,    25'000,    50'000,
    100'000, 250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000};
inline constexpr std::size_t kBuckets = kBucketBoundsUs.size() + 1;

// What happens to a worker's calls to the model servers.
enum class ModelCall {
  kMade,           // first tries, those included that the breakers refuse
  kRetried,        // second ones
  kRefused,        // by the breakers of all targets
  kBreakerOpened,  // not a call: one target's breaker opened
};

inline constexpr std::array<std::string_view, 4> kModelCallNames = {"made", "retried", "refused",
                                                                    "breaker_opened"};
inline constexpr std::size_t kModelCalls = kModelCallNames.size();

}  // namespace inferpool
