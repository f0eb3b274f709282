// Lets both ends of a connection in one process look at a region through the same addresses. The
// thread sanitizer knows memory by its address: what two mappings of one region do to each other it
// does not see.
//
// For programs that are linked with one_mapping.cc and -Wl,--wrap=mmap,--wrap=munmap; the product
// does not know. Both ends can write to both regions then: who may write what is another test's
// business.
#pragma once

namespace nacelle::testing {

// Regions that two ends look at through one mapping, at this moment.
int mappings_shared_by_two();

}  // namespace nacelle::testing
