// What the kernel tests share: memory that notices a stray access, numbers to compute with, and
// the list of backends to compare.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/target.h"
#include "kernels/kernels.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"

namespace nacelle::kernels::test {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

inline constexpr std::array kActivations = {Activation::kNone,     Activation::kGelu,
                                            Activation::kGeluTanh, Activation::kRelu,
                                            Activation::kSilu,     Activation::kTanh};

// `count` elements that end right before an unreadable page, behind a row of canaries: reading or
// writing past the end is a fault, writing before the beginning is found by intact(). Its address
// is aligned to the element only, whenever the count is odd.
template <typename T>
class Fenced {
 public:
  explicit Fenced(std::size_t count, T fill = T{}) : count_(count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t body = base::align_up(count * sizeof(T) + kCanaries, page);
    size_ = body + page;
    void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    base_ = static_cast<unsigned char*>(memory);
    CHECK(mprotect(base_ + body, page, PROT_NONE) == 0);
    data_ = base_ + body - count * sizeof(T);
    std::memset(data_ - kCanaries, kCanary, kCanaries);
    for (std::size_t i = 0; i < count; ++i) data()[i] = fill;
  }
  Fenced(Fenced&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        data_(other.data_),
        size_(other.size_),
        count_(other.count_) {}
  Fenced& operator=(Fenced&&) = delete;
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  ~Fenced() {
    if (base_ != nullptr) munmap(base_, size_);
  }

  [[nodiscard]] T* data() const { return static_cast<T*>(static_cast<void*>(data_)); }
  [[nodiscard]] std::size_t size() const { return count_; }
  T& operator[](std::size_t i) { return data()[i]; }
  [[nodiscard]] bool intact() const {
    for (std::size_t i = 0; i < kCanaries; ++i) {
      if (*(data_ - 1 - i) != kCanary) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kCanaries = 256;
  static constexpr unsigned char kCanary = 0xA5;
  unsigned char* base_;
  unsigned char* data_;
  std::size_t size_;
  std::size_t count_;
};

// Normally distributed numbers of standard deviation `magnitude`, one in 97 of them 8 times as
// large: real activations have such outliers.
class Numbers {
 public:
  explicit Numbers(std::uint32_t seed) : random_(seed) {}
  float next(float magnitude) {
    const float x = normal_(random_) * magnitude;
    return ++count_ % 97 == 0 ? 8 * x : x;
  }
  Fenced<float> array(std::size_t count, float magnitude) {
    Fenced<float> out(count);
    for (std::size_t i = 0; i < count; ++i) out[i] = next(magnitude);
    return out;
  }
  std::uint32_t below(std::uint32_t limit) {
    return std::uniform_int_distribution<std::uint32_t>(0, limit - 1)(random_);
  }

 private:
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  std::uint32_t count_ = 0;
};

// A number rounded to a 16-bit type, towards zero: tests need some such number, not the nearest.
inline std::uint16_t bf16_from(float x) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16);
}
inline std::uint16_t f16_from(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = (bits >> 16) & 0x8000U;
  const auto magnitude = std::fabs(x);
  if (magnitude >= 65504.0F) return static_cast<std::uint16_t>(sign | 0x7BFFU);
  if (magnitude < 0x1p-14F) {  // subnormal
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(magnitude * 0x1p24F));
  }
  return static_cast<std::uint16_t>(sign | (((bits & 0x7FFFFFFFU) - (112U << 23)) >> 13));
}

// A matrix of one element type, in fenced memory.
class Matrix {
 public:
  Matrix(Numbers& numbers, ElementType type, std::uint32_t rows, std::uint32_t columns,
         float magnitude)
      : bytes_(std::size_t{rows} * columns * element_size(type)) {
    for (std::size_t i = 0; i < std::size_t{rows} * columns; ++i) {
      const float x = numbers.next(magnitude);
      if (type == ElementType::kI8) {  // any code, the magnitude aside
        bytes_[i] = static_cast<unsigned char>(numbers.below(256));
        continue;
      }
      const std::uint16_t half = type == ElementType::kF16 ? f16_from(x) : bf16_from(x);
      std::memcpy(bytes_.data() + i * element_size(type),
                  type == ElementType::kF32 ? static_cast<const void*>(&x) : &half,
                  element_size(type));
    }
    tensor_ = {.data = bytes_.data(), .type = type, .rows = rows, .columns = columns};
  }
  [[nodiscard]] const Tensor& tensor() const { return tensor_; }

 private:
  Fenced<unsigned char> bytes_;
  Tensor tensor_;
};

// {0, a, a + b, ...} in fenced memory.
inline Fenced<std::uint32_t> offsets_of(const std::vector<std::uint32_t>& lengths) {
  Fenced<std::uint32_t> offsets(lengths.size() + 1);
  for (std::size_t s = 0; s < lengths.size(); ++s) offsets[s + 1] = offsets[s] + lengths[s];
  return offsets;
}

// ||out - expected|| / ||expected||; infinite when a NaN is where none belongs, or the other way.
inline double relative_error(const float* out, const float* expected, std::size_t count) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::isnan(out[i]) != std::isnan(expected[i])) return INFINITY;
    if (std::isnan(out[i])) continue;
    difference += std::pow(double{out[i]} - double{expected[i]}, 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  if (difference == 0) return 0;
  return std::sqrt(difference / norm);
}

// AMX's kernels over an emulator of its registers: everywhere that AVX2 runs.
inline constexpr std::string_view kEmulatedAmx = "cpu/emulated_amx";

// Everything that computes and is not the reference: "cpu/avx512", "cpu/avx2".
inline std::vector<std::string> fast_backends() {
  std::vector<std::string> names;
  for (const BackendEntry& entry : all_backends()) {
    if (entry.name == "reference") continue;
    if (entry.targets().empty()) names.emplace_back(entry.name);
    for (const std::string_view target : entry.targets()) {
      names.push_back(std::string(entry.name) + "/" + std::string(target));
    }
  }
  if (!cpu::usable_targets().empty()) names.emplace_back(kEmulatedAmx);
  return names;
}

inline std::unique_ptr<Backend> make(std::string_view name, unsigned threads = 2);

// ... and the reference.
inline std::vector<std::string> all_backend_names() {
  auto names = fast_backends();
  names.emplace_back("reference");
  return names;
}

// A test's name from a backend's: "cpu/avx512" is no identifier.
inline std::string test_name(const testing::TestParamInfo<std::string>& backend) {
  std::string name = backend.param;
  for (char& c : name) {
    if (c == '/') c = '_';
  }
  return name;
}

}  // namespace nacelle::kernels::test

namespace nacelle::kernels::cpu {
extern const Ops kAvx2Ops;                   // avx2.cc
extern const LinearKernel kAvx2F32;          //
extern const LinearKernel kEmulatedAmxBf16;  // amx_emulated.cc
extern const LinearKernel kEmulatedAmxInt8;  //
}  // namespace nacelle::kernels::cpu

namespace nacelle::kernels::test {

inline std::unique_ptr<Backend> make(std::string_view name, unsigned threads) {
  static const cpu::Target kEmulated{
      "emulated_amx",
      &cpu::kAvx2Ops,
      {&cpu::kAvx2F32, &cpu::kEmulatedAmxBf16, &cpu::kEmulatedAmxInt8}};
  auto backend =
      name == kEmulatedAmx ? cpu::create_on(kEmulated, threads) : create_backend(name, threads);
  CHECK(backend.has_value());
  return *std::move(backend);
}

}  // namespace nacelle::kernels::test
