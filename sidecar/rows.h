// From what a model computes for a window of tokens to the row that a client reads: the mean over
// a text's windows, scores from logits, the numbers that are kept, their length and their encoding.
//
// Everything here looks at one text at a time, its windows in their order, so a row has the same
// bytes in whatever batches its windows were.
#pragma once

#include <cstdint>
#include <span>

#include "shm/shm.h"
#include "sidecar/flow.h"

namespace nacelle::sidecar {

// Takes the numbers that the model computed for a request's window, which are changed. When it is
// the last window of its text, the row is in the reply then. For the windows of a request in their
// order, without those that have no tokens.
void finish_window(Request& request, std::uint32_t window, std::span<float> numbers);

// Logits to scores, in place. kModel is none of its functions: `function` says which.
void to_scores(std::span<float> logits, shm::Function function);

// Scales to length 1; what is shorter than 1e-12 is only divided by that.
void normalize(std::span<float> numbers);

// Writes shm::row_size(element, numbers.size()) bytes. shm::Element says what they are.
void write_elements(std::span<const float> numbers, shm::Element element, std::byte* out);

// The nearest binary16, ties to even; what is too large becomes an infinity.
std::uint16_t to_float16(float value);

}  // namespace nacelle::sidecar
