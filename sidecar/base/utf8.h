// Is this text UTF-8? RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace nacelle::base {

// The offset of the first byte that does not begin a well-formed character; nothing when all do.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

}  // namespace nacelle::base
