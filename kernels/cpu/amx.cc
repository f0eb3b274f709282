// The bf16 and int8 products of AMX, beside AVX-512 for all that is not a product.
#include "kernels/cpu/amx/linear.h"
#include "kernels/cpu/vectors/avx512.h"

namespace nacelle::kernels::cpu {

extern const LinearKernel kAmxTilesBf16;
const LinearKernel kAmxTilesBf16 =
    amx_kernel<AmxBf16<AmxTiles, Avx512>>("bf16/32x2x32/1", LinearFormat::kBF16, 500);
extern const LinearKernel kAmxTilesInt8;
const LinearKernel kAmxTilesInt8 =
    amx_kernel<AmxInt8<AmxTiles, Avx512>>("int8/32x4x64/1", LinearFormat::kInt8, 1000);

}  // namespace nacelle::kernels::cpu
