// What a cache keeps: an answer under its key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "shm/cache_key.h"
#include "shm/cache_layout.h"

namespace nacelle::cache {

// Both clocks at one moment; the monotonic one is this process's.
using Times = shm::CacheTimes;

// Why an answer was computed. The numbers are in region C: append only.
enum class Source : std::uint8_t {
  kOrganic = 0,  // somebody asked
  kWarm = 1,     // it was on a warm list
  kIdle = 2,     // there was nothing else to do
};

struct Attributes {
  std::uint32_t ttl_s = 0;    // how long it may be served, from created_wall_ns on; 0: never
  std::uint32_t service = 0;  // the number of the service that answered: for invalidation
  Source source = Source::kOrganic;
  std::uint64_t compute_ns = 0;  // what it took
};

struct Entry {
  shm::CacheKey key;
  // The value is the one behind the other: the report about the text, and the answer's row.
  std::span<const std::byte> head;
  std::span<const std::byte> body;
  Attributes attributes;
  std::int64_t created_wall_ns = 0;  // since 1970
};

}  // namespace nacelle::cache
