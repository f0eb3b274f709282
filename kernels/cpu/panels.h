// A linear layer's weights as the CPU's tiles read them: transposed, cut into panels.
//
// A panel is as many output columns as a tile is wide (Target::panel), the last one as many whole
// vectors as it needs. Inside a panel the columns of one input lie side by side, so a tile reads
// its weights in one rising stream:
//
//   weights [outputs, inputs]     panel 0: w00 w10 w20 w30 | w01 w11 w21 w31 | ...     (panel = 4)
//                                 panel 1: w40 w50  0   0  | ...              5 outputs, 2 lanes:
//                                 w40 w50
//
// Panel p starts at p * panel * inputs floats. All floats: element types end here.
#pragma once

#include "kernels/cpu/target.h"
#include "kernels/kernels.h"

namespace nacelle::kernels::cpu {

struct Panels : PackedLinear {
  const Target* target = nullptr;  // whose panels these are
  Buffer panels;                   // inputs * outputs (rounded up to whole vectors) floats
  Buffer bias;                     // the same number of outputs; zeros when the layer has none
};

base::Result<std::unique_ptr<Panels>> pack(const Target& target, const LinearWeights& weights);

}  // namespace nacelle::kernels::cpu
