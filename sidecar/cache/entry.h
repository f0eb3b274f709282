// One cached answer: a key, the bytes under it, and what is known about them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "shm/cache_key.h"

namespace nacelle::cache {

// Why an answer was computed.
enum class Source : std::uint8_t {
  kOrganic,  // somebody asked for it
  kWarm,     // a warm list or a schedule
  kIdle,     // nobody asked, and there was time
};

struct Attributes {
  std::uint32_t ttl_s = 0;
  std::uint32_t service = 0;
  Source source = Source::kOrganic;
  std::uint64_t compute_ns = 0;  // what a hit saves
};

struct Entry {
  shm::CacheKey key{};
  std::span<const std::byte> head, body;  // the value is one behind the other; not owned
  Attributes attributes;
  std::int64_t created_wall_ns = 0;  // since 1970
};

}  // namespace nacelle::cache
