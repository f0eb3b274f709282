// What the contenders of `./run bench cache` have in common: a store of answers that processes
// read, and the answers, which everybody can make again to see whether a copy is right.
//
// Text i is a sentence with the number i in it; its answer is kValueSize bytes that i decides: a
// report and an embedding of 384 floats, as all-MiniLM-L6-v2 makes them.
//
// Each program of this folder links the stores of one library and main.cc: a library that is not
// installed is a program that is not there, and the benchmark says so.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "sidecar/base/result.h"

namespace nacelle::bench {

inline constexpr std::size_t kHeadSize = 16;
inline constexpr std::size_t kValueSize = kHeadSize + 384 * sizeof(float);
using Value = std::array<std::byte, kValueSize>;

// A short sentence, without an allocation.
class Text {
 public:
  explicit Text(std::uint64_t i);
  [[nodiscard]] std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, 128> bytes_;
  std::size_t size_;
};

// Of 64 bits, all of them changed by each that is (splitmix64).
constexpr std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}
inline std::uint64_t word_of(std::uint64_t i, std::size_t at) { return mixed(i * 1009 + at); }

inline void make_value(std::uint64_t i, Value& value) {
  for (std::size_t at = 0; at < kValueSize; at += 8) {
    const std::uint64_t word = word_of(i, at);
    std::memcpy(&value[at], &word, sizeof word);
  }
}

// One process' way to the answers. Keys are made of the text anew for each call, as an application
// would have to.
class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;

  virtual base::Status put(std::string_view text, const Value& value) = 0;
  // False: it is not there.
  virtual bool get(std::string_view text, Value& out) = 0;
  // For a child that was forked: its own connection. Called before anything else there.
  virtual base::Status reopen() { return base::ok(); }
};

struct StoreKind {
  const char* name;
  // Empty, with room for `entries`. `at`: a socket or a folder of its own.
  base::Result<std::unique_ptr<Store>> (*open)(const std::string& at, std::uint64_t entries);
};

// The stores of this program.
std::span<const StoreKind> stores();

// SHA-256 of a text in lower-case hex behind a prefix, as applications make Redis keys.
std::string hex_key(std::string_view text);

}  // namespace nacelle::bench
