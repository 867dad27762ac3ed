// The sigmoid and SiLU of many numbers at a time.
#pragma once

#include <cstddef>

namespace inferpool::modelserver {

// to[i] = 1 / (1 + exp(-from[i])), and from[i] times that. `from` and `to` are the same memory or
// do not overlap. Relative error under 1e-6 (where the exact result is below 1e-37, that of
// 1e-37); not a number stays so, for the sigmoid too.
void Sigmoid(const float* from, float* to, std::size_t count);
void Silu(const float* from, float* to, std::size_t count);

}  // namespace inferpool::modelserver
