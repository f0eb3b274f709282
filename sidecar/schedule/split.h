// What becomes of a batch that did not fit into memory: two batches of about half its tokens.
#pragma once

#include <utility>

#include "sidecar/flow.h"

namespace nacelle::sidecar {

// Cuts between two windows, in order: everything in the first half comes before the second. The
// batch has at least two texts, and so has each half at least one.
std::pair<Batch, Batch> split(const Batch& batch);

// Counts tokens, texts and clients of the batch's slices.
void recount(Batch& batch);

}  // namespace nacelle::sidecar
