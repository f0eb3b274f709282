// JSON from untrusted files: bounded in size, depth and in what it may hold.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"

namespace nacelle::files {

using Json = nlohmann::json;

inline constexpr std::size_t kJsonDepthMax = 64;

// Values in one document. A value costs up to 200 bytes of memory however few bytes of text it has,
// so this, not the size of the file, bounds the memory.
inline constexpr std::size_t kJsonValuesMax = 4'000'000;

// One member that stays out of the tree: root[parent][name], when it is an object or a list. The
// tree keeps an empty one in its place; what it holds goes to `reader` event by event, from its own
// start to its own end. What the reader returns does not matter: it bounds its memory, looks for
// keys that appear twice, and tells of errors, itself.
struct JsonApart {
  std::string_view parent;
  std::string_view name;
  nlohmann::json_sax<Json>* reader;
};

struct JsonLimits {
  std::size_t values_max = kJsonValuesMax;  // in the tree
  std::span<const JsonApart> apart;
};

// Parses `text`. Errors name `what` (a path) and the byte offset. Refuses nesting deeper than
// kJsonDepthMax, too many values, duplicate keys, NUL bytes, and text that is not UTF-8.
base::Result<Json> parse_json(std::string_view text, const std::string& what,
                              const JsonLimits& limits = {});

// The same from a file of at most `size_max` bytes.
base::Result<Json> read_json(const std::string& path, std::size_t size_max);

// `text` from a file, fit for a message: in double quotes, without control characters, shortened.
std::string in_quotes(std::string_view text);

}  // namespace nacelle::files
