// What every op's struct promises, as CHECKs: each backend calls these before it computes.
//
// They look at pointers, sizes and offsets, never at the numbers, so they cost nothing beside the
// work. Ids are the exception that stays unchecked here: the tokenizer's caller has checked them.
#pragma once

#include "kernels/kernels.h"

namespace nacelle::kernels {

void check_contract(const EmbedNorm& op);
void check_contract(const LinearWeights& weights);
void check_contract(const Linear& op);  // that op.weights are its own is the backend's to check
void check_contract(const Attention& op);
void check_contract(const Rotary& op);
void check_contract(const LayerNorm& op);
void check_contract(const Gate& op);
void check_contract(const Pool& op);
void check_contract(const Normalize& op);
void check_contract(const Quantize& op);

}  // namespace nacelle::kernels
