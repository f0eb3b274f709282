// The rows of a list that the cache has: copied to where they belong, without a message. What is
// missing is left to a ListRun.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "shm/cache_reader.h"
#include "shm/client_state.h"
#include "shm/list_call.h"

namespace nacelle::shm {

struct Lookup {
  std::uint32_t hits = 0;
  // Of rows, rising. With no hits it is empty: then all of them are missing.
  std::vector<std::uint32_t> missing;
  [[nodiscard]] bool whole() const { return hits > 0 && missing.empty(); }
};

// For a call whose `out` and `items` have the service's shape. Finds nothing where the call or the
// service does not read the cache, or the service's description is older than what the region
// holds.
Lookup look_up(const CacheReader& cache, const Service& service, const ListCall& call);

// The rest of a call: the texts and places of what is missing. Points into itself and `call`.
class Remainder {
 public:
  Remainder(const ListCall& call, Lookup looked);
  Remainder(const Remainder&) = delete;
  Remainder& operator=(const Remainder&) = delete;

  [[nodiscard]] const ListCall& call() const { return call_; }
  [[nodiscard]] std::uint32_t hits() const { return looked_.hits; }

 private:
  Lookup looked_;
  std::vector<std::string_view> texts_;
  ListCall call_;
};

}  // namespace nacelle::shm
