// A fuzz target: a function that takes any bytes and never fails. Built twice: by clang with its
// fuzzer (./run fuzz), and by any compiler with replay.cc, which plays the stored corpus and a
// fixed number of mutations of it (./run test).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// NOLINTNEXTLINE(readability-identifier-naming): the fuzzer's name for it
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace nacelle::fuzz {

// The input as a stream of numbers; zeros when it is used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  template <typename T>
  T take() {
    T value{};
    fill(&value, sizeof value);
    return value;
  }
  // As many of `size` bytes as there are left; the others stay as they are.
  void fill(void* out, std::size_t size) {
    const std::size_t count = size < left_ ? size : left_;
    if (count > 0) std::memcpy(out, data_, count);
    data_ += count;
    left_ -= count;
  }
  [[nodiscard]] std::size_t left() const { return left_; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

}  // namespace nacelle::fuzz
