// Settings from the YAML file.
//
// The file is read as a stream of events, not as yaml-cpp's node graph: that is where key positions
// and duplicate keys can still be seen, and where aliases (which can stand for exponentially large
// documents) and deep nesting can be refused before anything is built.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/config/fields.h"
#include "sidecar/config/value.h"

namespace nacelle::config {

inline constexpr std::size_t kYamlSizeMax = 1U << 20;  // bytes
inline constexpr int kYamlDepthMax = 16;               // a real file needs 3

// The settings of a YAML document of at most kYamlSizeMax bytes. `path` names it in errors
// ("path:line:column"). Unknown keys, duplicates, and anything that is not a map of options go to
// `problems`; the settings that could be read are returned all the same.
std::vector<Setting> read_yaml(const std::string& text, const std::string& path,
                               const std::vector<Field>& fields, Problems& problems);

}  // namespace nacelle::config
