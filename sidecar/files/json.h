// JSON from untrusted files: bounded in size, depth and in what it may hold.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"

namespace nacelle::files {

using Json = nlohmann::json;

inline constexpr std::size_t kJsonDepthMax = 64;

// Values in one document. A value costs about 100 bytes of memory however few bytes of text it has,
// so this, not the size of the file, bounds the memory. Gemma's tokenizer.json has 1.7 million.
inline constexpr std::size_t kJsonValuesMax = 4'000'000;

// Parses `text`. Errors name `what` (a path) and the byte offset. Refuses nesting deeper than
// kJsonDepthMax, more than kJsonValuesMax values, duplicate keys, NUL bytes, and text that is not
// UTF-8.
base::Result<Json> parse_json(std::string_view text, const std::string& what);

// The same from a file of at most `size_max` bytes.
base::Result<Json> read_json(const std::string& path, std::size_t size_max);

// `text` from a file, fit for a message: in double quotes, without control characters, shortened.
std::string in_quotes(std::string_view text);

}  // namespace nacelle::files
