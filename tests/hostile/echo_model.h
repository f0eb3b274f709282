// A model that answers with a function of the text's bytes, so that a reply of somebody else's is
// seen at once; and that can be held up in the middle of its work.
//
// echo_model.cc also defines model::load, which makes one of any directory: a program that links it
// has the whole sidecar but for the real models and the kernels below them. That keeps the hostile
// tests quick to build with sanitizers.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"

namespace nacelle::testing {

inline constexpr std::uint32_t kEchoWidth = 16;   // floats per embedding
inline constexpr std::uint32_t kEchoTokens = 64;  // per text: its bytes
inline constexpr std::uint32_t kEchoLabels = 3;

// What the model answers to a text: the oracle.
std::vector<float> echo_of(std::string_view text);

// While one exists, batches that hold a text with the byte 0x01 wait in the model.
class Hold {
 public:
  Hold();
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
};

// Stands in where a backend must be named; nothing ever calls it.
kernels::Backend& no_backend();

}  // namespace nacelle::testing
