// When an entry has expired, by the wall clock: the rule for entries that come back from the disk.
//
// The wall clock may be wrong, jump either way, or say 1970 on a machine without a battery. So an
// entry from the future is expired: nobody knows how old it is. Served too briefly is a miss;
// served too long would be wrong.
#pragma once

#include <cstdint>

#include "sidecar/base/time.h"

namespace nacelle::cache {

// Whether an entry made at `created_wall_ns` that lives for `ttl_s` seconds is over at
// `now_wall_ns` (nanoseconds since 1970, any value). 0 seconds is over at once.
[[nodiscard]] constexpr bool expired(std::int64_t created_wall_ns, std::uint32_t ttl_s,
                                     std::int64_t now_wall_ns) {
  if (created_wall_ns > now_wall_ns) return true;
  // Not now - created: the two may be further apart than 63 bits. As unsigned it is exact.
  const std::uint64_t age =
      static_cast<std::uint64_t>(now_wall_ns) - static_cast<std::uint64_t>(created_wall_ns);
  return age >= static_cast<std::uint64_t>(ttl_s) * static_cast<std::uint64_t>(base::kSecond);
}

}  // namespace nacelle::cache
