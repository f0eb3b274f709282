// exp, erf, tanh and GELU on vectors. NaN gives NaN, infinities give the limits.
//
// Errors are the largest over every float of the stated range, counted in units in the last place
// of the result; tests/kernels/math_test.cc measures and bounds them.
//
// The coefficients are ours: weighted least squares in 40-digit arithmetic, the weights moved
// towards the points of largest relative error until it was even (Lawson's iteration), rounded to
// float; the last bits of the two fractions were then searched for the least error as computed.
#pragma once

#include <cstddef>

#include "kernels/activation.h"

namespace nacelle::kernels::cpu {

// e^x for x <= 0: at most 2 ulp; 0 where e^x is below the least normal float, 2^-126.
//
// x = n ln 2 + r with |r| <= ln 2 / 2. ln 2 is split in two floats, the first with 9 trailing zero
// bits, so that n * ln2_high is exact for |n| < 512. e^r = 1 + r + r^2 q(r), error 3.1e-9.
template <class V>
typename V::Register exp_nonpositive(typename V::Register x) {
  constexpr float kLeast = -87.33654F;              // ln 2^-126, rounded towards 0
  const auto clamped = V::max(V::set1(kLeast), x);  // max gives its second when one is NaN
  const auto n = V::round(V::mul(clamped, V::set1(1.44269504F)));
  auto r = V::fma(n, V::set1(-0x1.62e4p-1F), clamped);
  r = V::fma(n, V::set1(-0x1.7f7d1cp-20F), r);

  auto q = V::set1(1.381446571e-03F);
  q = V::fma(q, r, V::set1(8.368780530e-03F));
  q = V::fma(q, r, V::set1(4.166839424e-02F));
  q = V::fma(q, r, V::set1(1.666652011e-01F));
  q = V::fma(q, r, V::set1(4.999999341e-01F));
  const auto y = V::add(V::fma(V::mul(r, r), q, r), V::set1(1.0F));
  return V::zero_where_less(V::times_power_of_2(y, n), x, V::set1(kLeast));
}

// 2^x for x <= 0, within 3e-6 of it, for results that are rounded to bf16 (2^-9) next: 0 below
// 2^-126, NaN for NaN. A polynomial for 2^r, |r| <= 1/2, by Remez' exchange.
template <class V>
typename V::Register exp2_rough(typename V::Register x) {
  constexpr float kLeast = -126.0F;
  const auto clamped = V::max(V::set1(kLeast), x);  // max gives its second when one is NaN
  const auto n = V::round(clamped);
  const auto r = V::sub(clamped, n);
  auto p = V::set1(9.570101908e-03F);
  p = V::fma(p, r, V::set1(5.591786032e-02F));
  p = V::fma(p, r, V::set1(2.402474483e-01F));
  p = V::fma(p, r, V::set1(6.931218147e-01F));
  p = V::fma(p, r, V::set1(9.999992614e-01F));
  return V::zero_where_less(V::times_power_of_2(p, n), x, V::set1(kLeast));
}

// x p(x^2) / q(x^2), where p and q have degree 5, with x first brought into [-limit, limit].
struct OddRational {
  float limit;
  float p[6];
  float q[6];  // q[0] = 1
};

// Not `inline`: that would make them symbols shared with the program (target.h).
//
// erf is 1 to float precision from 3.92 on; the fraction's own error is 1.9e-8.
constexpr OddRational kErf = {
    .limit = 3.92F,
    .p = {1.128379107e+00F, 1.903979331e-01F, 5.274745077e-02F, 3.765209811e-03F, 2.848672448e-04F,
          2.050071771e-06F},
    .q = {1.0F, 5.020684600e-01F, 1.141054481e-01F, 1.496841013e-02F, 1.162424800e-03F,
          3.809073314e-05F},
};

// tanh is 1 to float precision from 9.02 on; the fraction's own error is 1.3e-9.
constexpr OddRational kTanh = {
    .limit = 9.02F,
    .p = {9.999999404e-01F, 1.367992163e-01F, 3.868336789e-03F, 2.800761104e-05F, 3.058535469e-08F,
          -1.220380047e-11F},
    .q = {1.0F, 4.701324701e-01F, 2.724587545e-02F, 3.938645532e-04F, 1.287376108e-06F, 0.0F},
};

template <class V>
typename V::Register odd_rational(const OddRational& f, typename V::Register x) {
  x = V::max(V::set1(-f.limit), V::min(V::set1(f.limit), x));
  const auto y = V::mul(x, x);
  auto p = V::set1(f.p[5]);
  auto q = V::set1(f.q[5]);
#pragma GCC unroll 5
  for (int i = 4; i >= 0; --i) {
    p = V::fma(p, y, V::set1(f.p[i]));
    q = V::fma(q, y, V::set1(f.q[i]));
  }
  const auto value = V::div(V::mul(x, p), q);
  // Rounding may pass 1 by an ulp near the limit.
  return V::max(V::set1(-1.0F), V::min(V::set1(1.0F), value));
}

// At most 5 ulp; odd; erf(+-inf) = +-1.
template <class V>
typename V::Register erf(typename V::Register x) {
  return odd_rational<V>(kErf, x);
}

// At most 4 ulp; odd; tanh(+-inf) = +-1.
template <class V>
typename V::Register tanh(typename V::Register x) {
  return odd_rational<V>(kTanh, x);
}

// x/2 (1 + erf(x / sqrt 2)). The sum cancels for x below -1, so the error is bounded by 2.5e-7 |x|
// rather than by the result's own ulp: as in every float implementation of this formula. -inf gives
// NaN (-inf * 0), as the formula does.
template <class V>
typename V::Register gelu(typename V::Register x) {
  const auto half = V::mul(x, V::set1(0.5F));
  return V::mul(half, V::add(V::set1(1.0F), erf<V>(V::mul(x, V::set1(0.70710678F)))));
}

// The same with GPT-2's approximation of erf: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
template <class V>
typename V::Register gelu_tanh(typename V::Register x) {
  const auto cubic = V::fma(V::mul(x, x), V::set1(0.044715F), V::set1(1.0F));
  const auto inside = V::mul(V::mul(x, V::set1(0.79788456F)), cubic);
  return V::mul(V::mul(x, V::set1(0.5F)), V::add(V::set1(1.0F), tanh<V>(inside)));
}

// x / (1 + e^-x) as x/2 (1 + tanh(x/2)); cancels for x far below 0, as gelu does.
template <class V>
typename V::Register silu(typename V::Register x) {
  const auto half = V::mul(x, V::set1(0.5F));
  return V::fma(half, tanh<V>(half), half);
}

template <class V>
typename V::Register activate(Activation activation, typename V::Register x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGelu:
      return gelu<V>(x);
    case Activation::kGeluTanh:
      return gelu_tanh<V>(x);
    case Activation::kRelu:
      return V::max(V::zero(), x);  // NaN stays: max gives its second
    case Activation::kSilu:
      return silu<V>(x);
    case Activation::kTanh:
      return tanh<V>(x);
  }
  return x;
}

}  // namespace nacelle::kernels::cpu
