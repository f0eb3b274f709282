// A linear layer's weights as the CPU's tiles read them: transposed, cut into panels.
//
// A panel is as many output columns as a tile is wide (PanelLayout::panel), the last one as many
// whole vectors (`lanes`) as it needs. Inside a panel a group of inputs of one column is followed
// by the same inputs of the next, so a tile reads its weights in one rising stream:
//
//   weights [outputs, inputs]     panel 0: w00 w10 w20 w30 | w01 w11 w21 w31 | ...     (panel = 4)
//                                 panel 1: w40 w50  0   0  | ...              5 outputs, 2 lanes:
//                                 w40 w50
//   in groups of 2                panel 0: w00 w01 w10 w11 w20 w21 w30 w31 | w02 w03 w12 w13 ...
//
// Inputs are rounded up to whole `depth`s, with weights 0. Panel p starts at element p * panel *
// inputs (rounded up). An element is a float, a bf16 or a code.
#pragma once

#include "kernels/cpu/target.h"
#include "kernels/kernels.h"

namespace nacelle::kernels::cpu {

// What a layer in that layout measures. Layouts are constants: the shape's name is theirs.
PackedShape packed_shape(const PanelLayout& layout, std::uint32_t inputs, std::uint32_t outputs);

base::Result<std::unique_ptr<PackedLinear>> pack(const PanelLayout& layout,
                                                 const LinearWeights& weights);

}  // namespace nacelle::kernels::cpu
