#include "sidecar/cache/ghost.h"

#include <algorithm>

#include "shm/cache_layout.h"
#include "sidecar/base/check.h"

namespace nacelle::cache {
namespace {

// Times are 1 to kTimes and then 1 again: by then a place has been reused, since a bucket's eight
// places meet many times as many keys.
constexpr std::uint32_t kTimes = 65'535;
// How finely times are told: the whole filter's keys in so many steps.
constexpr std::uint64_t kSteps = 4096;

std::uint32_t fingerprint(const shm::CacheKey& key) {
  return static_cast<std::uint32_t>(shm::key_word(key, 2) >> 48);
}

std::uint32_t time_of(std::uint64_t dropped, std::uint64_t grain) {
  return static_cast<std::uint32_t>(dropped / grain % kTimes) + 1;
}

}  // namespace

Ghost::Ghost(std::span<std::uint32_t> places)
    : places_(places), grain_(std::max<std::uint64_t>(1, places.size() / kSteps)) {
  CHECK(!places.empty() && places.size() % kWays == 0);
}

std::span<std::uint32_t> Ghost::bucket(const shm::CacheKey& key) const {
  const std::uint64_t at = shm::scaled(shm::key_word(key, 3), places_.size() / kWays);
  return places_.subspan(at * kWays, kWays);
}

// In units of time since the place was written; more than any when it is empty.
std::uint32_t Ghost::age(std::uint32_t place) const {
  const std::uint32_t when = place & 0xFFFF;
  if (when == 0) return kTimes;
  return (time_of(dropped_, grain_) + kTimes - when) % kTimes;
}

void Ghost::remember(const shm::CacheKey& key) {
  ++dropped_;
  const std::span<std::uint32_t> places = bucket(key);
  std::uint32_t* oldest = places.data();
  for (std::uint32_t& place : places) {
    if (place != 0 && place >> 16 == fingerprint(key)) {
      oldest = &place;
      break;
    }
    if (age(place) > age(*oldest)) oldest = &place;
  }
  *oldest = fingerprint(key) << 16 | time_of(dropped_, grain_);
}

bool Ghost::recall(const shm::CacheKey& key, std::uint64_t window) {
  for (std::uint32_t& place : bucket(key)) {
    if (place == 0 || place >> 16 != fingerprint(key)) continue;
    const bool recent = age(place) <= window / grain_;
    place = 0;
    return recent;
  }
  return false;
}

}  // namespace nacelle::cache
