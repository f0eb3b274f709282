// What nacellectl top shows: two readings of the statistics page, as lines for a terminal or as
// JSON.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sidecar/control/statistics.h"

namespace nacelle::ctl {

// Rates are those between the two readings, 0 when they are the same one.
std::string top_text(const control::Statistics& before, const control::Statistics& now);
nlohmann::json top_json(const control::Statistics& before, const control::Statistics& now);

// The lines of `text` that a terminal of this size has room for, none wider than it. The last line
// says how many there are not.
std::vector<std::string> fit(const std::string& text, std::size_t columns, std::size_t rows);

// "85us", "1.2ms", "34s": at most six columns.
std::string time_text(std::uint64_t ns);

}  // namespace nacelle::ctl
