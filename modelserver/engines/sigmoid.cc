#include "modelserver/engines/sigmoid.h"

#include <bit>
#include <cstdint>

namespace inferpool::modelserver {
namespace {

// Written such that the compiler can do eight at a time; std::exp cannot be.
[[gnu::always_inline]] inline float SigmoidOf(float x) {
  // exp(-x) = 2^n * exp(r), with n the nearest integer to -x / ln 2 and r in +-0.347.
  constexpr float kLimit = 87;  // exp(+-87) is still a normal float
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;  // exact in nine bits, so n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kShift = 12582912;  // 1.5 * 2^23: adding and subtracting it rounds to an integer
  float y = -x;
  y = y > kLimit ? kLimit : y;
  y = y < -kLimit ? -kLimit : y;
  const float shifted = y * kLog2E + kShift;
  const float n = shifted - kShift;
  const float r = (y - n * kLn2High) - n * kLn2Low;
  // The Taylor series; the first term left out is below 1.2e-7.
  const float series =
      1 + r * (1 + r * (1.0F / 2 +
                        r * (1.0F / 6 + r * (1.0F / 24 + r * (1.0F / 120 + r * (1.0F / 720))))));
  const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23;
  return 1 / (1 + std::bit_cast<float>(exponent) * series);
}

enum class Function { kSigmoid, kSilu };

template <Function function>
[[gnu::always_inline]] inline void Apply(const float* from, float* to, std::size_t count) {
// The same memory or none in common: without being told, in place is one at a time.
#ifdef __clang__
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
  for (std::size_t i = 0; i < count; ++i) {
    const float x = from[i];
    to[i] = (function == Function::kSilu ? x : 1) * SigmoidOf(x);
  }
}

#ifdef __x86_64__
template <Function function>
[[gnu::target("avx2,fma")]] void ApplyAvx2(const float* from, float* to, std::size_t count) {
  Apply<function>(from, to, count);
}
#endif

template <Function function>
void Dispatch(const float* from, float* to, std::size_t count) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    ApplyAvx2<function>(from, to, count);
    return;
  }
#endif
  Apply<function>(from, to, count);
}

}  // namespace

void Sigmoid(const float* from, float* to, std::size_t count) {
  Dispatch<Function::kSigmoid>(from, to, count);
}

void Silu(const float* from, float* to, std::size_t count) {
  Dispatch<Function::kSilu>(from, to, count);
}

}  // namespace inferpool::modelserver
