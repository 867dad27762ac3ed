// Computes the sigmoid and SiLU of many numbers at a time.
#pragma once

#include <cstddef>

namespace inferpool::modelserver {

// Sigmoid: to[i] = 1 / (1 + exp(-from[i])). Silu: to[i] = from[i] / (1 + exp(-from[i])). `from` and
// `to` are the same memory or do not overlap. The error is less than 1e-6 of the exact result, or
// of 1e-37 when the result is smaller than that. NaN gives NaN.
void Sigmoid(const float* from, float* to, std::size_t count);
void Silu(const float* from, float* to, std::size_t count);

}  // namespace inferpool::modelserver
