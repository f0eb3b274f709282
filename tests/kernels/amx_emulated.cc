// The AMX kernels over the emulator, with AVX2 for the rest: a target for the tests alone.
#include "kernels/cpu/amx/linear.h"
#include "kernels/cpu/vectors/avx2.h"
#include "tests/kernels/amx_emulator.h"

namespace nacelle::kernels::cpu {

extern const LinearKernel kEmulatedAmxBf16;
const LinearKernel kEmulatedAmxBf16 =
    amx_kernel<AmxBf16<EmulatedTiles, Avx2>>("bf16/32x2x32/1", LinearFormat::kBF16, 1);
extern const LinearKernel kEmulatedAmxInt8;
const LinearKernel kEmulatedAmxInt8 =
    amx_kernel<AmxInt8<EmulatedTiles, Avx2>>("int8/32x4x64/1", LinearFormat::kInt8, 1);

}  // namespace nacelle::kernels::cpu
