// bench_kernels without oneDNN: bf16 and int8 have no peer.
#include "bench/kernels_onednn.h"

namespace nacelle::bench {

std::unique_ptr<OneDnn> make_onednn(const OneDnnLayer& /*layer*/, unsigned /*threads*/) {
  return nullptr;
}

}  // namespace nacelle::bench
