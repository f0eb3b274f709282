// AMX's tile registers in plain C++: the functions of kernels/cpu/amx/tiles.h, so that the kernels
// that are written over them run on any machine.
//
// After the operation sections of Intel's manual (SDM volume 2: LDTILECFG, TILELOADD, TILESTORED,
// TDPBSSD, TDPBF16PS). What would be a fault there stops the program here: an unused tile, a
// configuration or shapes that do not fit, rows that would be cut.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/amx/tiles.h"

namespace nacelle::kernels::cpu {
namespace {

struct EmulatedTiles {
  struct Tile {
    unsigned char rows[16][64];
  };
  struct State {
    bool configured = false;
    TileConfig config;
    Tile tiles[8];
  };
  static State& state() {
    static thread_local State the_state;  // registers belong to a thread
    return the_state;
  }
  static void need(bool condition) {
    if (!condition) __builtin_trap();
  }

  static void configure(const TileConfig& config) {
    need(config.palette == 1 && config.start_row == 0);
    need(reinterpret_cast<std::uintptr_t>(&config) % 64 == 0);
    for (int t = 0; t < 16; ++t) {
      need(t < 8 || (config.rows[t] == 0 && config.row_bytes[t] == 0));
      need(config.rows[t] <= 16 && config.row_bytes[t] <= 64);
      need((config.rows[t] == 0) == (config.row_bytes[t] == 0));
    }
    State& s = state();
    s = State{};
    s.config = config;
    s.configured = true;
  }
  static void release() { state() = State{}; }

  template <int kTile>
  static Tile& used() {
    static_assert(kTile >= 0 && kTile < 8);
    need(state().configured && state().config.rows[kTile] > 0);
    return state().tiles[kTile];
  }
  template <int kTile>
  static std::size_t rows() {
    return state().config.rows[kTile];
  }
  template <int kTile>
  static std::size_t row_bytes() {
    return state().config.row_bytes[kTile];
  }

  template <int kTile>
  static void zero() {
    used<kTile>() = Tile{};
  }
  template <int kTile>
  static void load(const void* p, std::size_t stride) {
    Tile& tile = used<kTile>();
    tile = Tile{};
    for (std::size_t r = 0; r < rows<kTile>(); ++r) {
      __builtin_memcpy(tile.rows[r], static_cast<const char*>(p) + r * stride, row_bytes<kTile>());
    }
  }
  template <int kTile>
  static void load_once(const void* p, std::size_t stride) {
    load<kTile>(p, stride);
  }
  template <int kTile>
  static void store(void* p, std::size_t stride) {
    const Tile& tile = used<kTile>();
    for (std::size_t r = 0; r < rows<kTile>(); ++r) {
      __builtin_memcpy(static_cast<char*>(p) + r * stride, tile.rows[r], row_bytes<kTile>());
    }
  }

  template <class T>
  static T element(const Tile& tile, std::size_t row, std::size_t index) {
    T value;
    __builtin_memcpy(&value, tile.rows[row] + index * sizeof value, sizeof value);
    return value;
  }
  template <class T>
  static void set(Tile& tile, std::size_t row, std::size_t index, T value) {
    __builtin_memcpy(tile.rows[row] + index * sizeof value, &value, sizeof value);
  }
  // The shapes of a product: C is m x n, A is m x k, B is k x n, in 32-bit elements.
  template <int kSums, int kA, int kB>
  static void check_shapes() {
    need(rows<kSums>() == rows<kA>() && row_bytes<kSums>() == row_bytes<kB>());
    need(row_bytes<kA>() / 4 == rows<kB>());
  }

  template <int kSums, int kA, int kB>
  static void dot_int8() {
    Tile& sums = used<kSums>();
    const Tile& a = used<kA>();
    const Tile& b = used<kB>();
    check_shapes<kSums, kA, kB>();
    for (std::size_t m = 0; m < rows<kSums>(); ++m) {
      for (std::size_t k = 0; k < rows<kB>(); ++k) {
        for (std::size_t n = 0; n < row_bytes<kSums>() / 4; ++n) {
          auto sum = element<std::uint32_t>(sums, m, n);  // wraps
          for (std::size_t i = 0; i < 4; ++i) {
            const int product = int{element<std::int8_t>(a, m, 4 * k + i)} *
                                int{element<std::int8_t>(b, k, 4 * n + i)};
            sum += static_cast<std::uint32_t>(product);
          }
          set(sums, m, n, sum);
        }
      }
    }
  }

  // Denormals are 0 on the way in and on the way out, with their sign.
  static float flushed(float x) {
    return __builtin_fabsf(x) < 0x1p-126F ? __builtin_copysignf(0.0F, x) : x;
  }
  static float widened(const Tile& tile, std::size_t row, std::size_t index) {
    const auto bits = static_cast<std::uint32_t>(element<std::uint16_t>(tile, row, index)) << 16;
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return flushed(x);
  }

  // The even and the odd products are two chains of FMAs over all of k; then even + odd, then the
  // old sum + that.
  template <int kSums, int kA, int kB>
  static void dot_bf16() {
    Tile& sums = used<kSums>();
    const Tile& a = used<kA>();
    const Tile& b = used<kB>();
    check_shapes<kSums, kA, kB>();
    for (std::size_t m = 0; m < rows<kSums>(); ++m) {
      for (std::size_t n = 0; n < row_bytes<kSums>() / 4; ++n) {
        float chains[2] = {0.0F, 0.0F};
        for (std::size_t k = 0; k < rows<kB>(); ++k) {
          for (std::size_t i = 0; i < 2; ++i) {
            chains[i] = flushed(
                __builtin_fmaf(widened(a, m, 2 * k + i), widened(b, k, 2 * n + i), chains[i]));
          }
        }
        const float both = flushed(chains[0] + chains[1]);
        set(sums, m, n, flushed(flushed(element<float>(sums, m, n)) + both));
      }
    }
  }
};

}  // namespace
}  // namespace nacelle::kernels::cpu
