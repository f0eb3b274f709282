// Memory for a victim that is single-stepped: handed out from one end of a block and never taken
// back, so that each victim takes the same instructions. (The C library's allocator goes ways that
// depend on what the test did before the victim was forked.)
#pragma once

namespace nacelle::crash {

// From now on operator new of this process gives such memory. For a forked victim, once.
void use_victim_heap();

}  // namespace nacelle::crash
