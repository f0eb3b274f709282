// One process of the generator: sends what is due and notes what becomes of it.
#pragma once

#include <cstdint>
#include <span>

#include "bench/serve/load.h"
#include "bench/serve/target.h"

namespace nacelle::bench::serve {

// Runs the whole load against `target`, beginning at `start` (CLOCK_MONOTONIC), and returns when
// everything has ended or load.grace has passed. `records` are those of write_down() (kClosed:
// unused ones; it stops when they are used up) and are right at every moment: whoever reads them
// after this process was killed finds what was open as lost. kClosed: `texts` are asked for in
// turn. One thread; sleeps while nothing is due and nothing comes.
void run_client(const Load& load, std::span<const Arrival> arrivals,
                std::span<const std::uint32_t> texts, base::Nanos start, Target& target,
                std::span<Record> records);

}  // namespace nacelle::bench::serve
