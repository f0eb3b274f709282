// bench_kernels without OpenBLAS: nothing to compare with.
#include "bench/kernels_peer.h"

namespace nacelle::bench {

std::unique_ptr<Peer> make_peer(unsigned) { return nullptr; }

}  // namespace nacelle::bench
