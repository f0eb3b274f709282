// The shape of an option: its names, the kinds of values there are, and the list of all options.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sidecar/config.h"

namespace nacelle::config {

using sidecar::Config;
using sidecar::Prompt;
using sidecar::Service;

// Longest path of a Unix socket: sun_path has 108 bytes, the last one a 0.
inline constexpr std::size_t kSocketPathMax = 107;
inline constexpr std::size_t kPathMax = 4095;
inline constexpr std::size_t kServicesMax = 64;
inline constexpr std::size_t kServiceNameMax = 63;
inline constexpr std::size_t kIdsMax = 64;
inline constexpr std::size_t kPromptsMax = 64;  // of one service
inline constexpr std::size_t kPromptNameMax = 63;
inline constexpr std::size_t kPromptTextMax = 4096;
inline constexpr std::uint32_t kYearS = 365 * 86'400;

// The kinds of options. Each points at its member and holds its bounds.
struct SocketPath {
  std::string* value;
};
struct Path {
  std::string* value;
  bool may_be_empty = false;
};
struct ListenAddress {  // 127.0.0.1:9464, or empty
  std::string* value;
};
struct BackendName {
  std::string* value;
};
struct Word {
  std::string* value;
  std::span<const std::string_view> words;  // one of these
};
// A word that is kept as its index in `words`: an enum.
struct Choice {
  std::function<void(std::size_t)> set;
  std::function<std::size_t()> get;
  std::span<const std::string_view> words;
};
template <typename T>
struct Whole {
  T* value;
  T min;
  T max;
  std::optional<T> automatic = std::nullopt;  // the value that "auto" stands for
};
struct Level {
  base::LogLevel* value;
};
struct Ids {
  std::vector<std::uint32_t>* value;
};
struct Services {
  std::vector<Service>* value;
};
using Target =
    std::variant<SocketPath, Path, ListenAddress, BackendName, Word, Choice, Whole<std::int32_t>,
                 Whole<std::uint32_t>, Whole<std::uint64_t>, Level, Ids, Services>;

struct Field {
  std::string_view name;  // dotted, as in the YAML file
  std::string_view unit;  // "bytes", "ms"; empty when there is none
  Target target;
  std::string_view help;  // full sentences

  [[nodiscard]] std::string flag() const;         // "--transport.slots"
  [[nodiscard]] std::string environment() const;  // "NACELLE_TRANSPORT_SLOTS"
};

// THE LIST of options, bound to the members of `config`, which outlives the result.
std::vector<Field> fields(Config& config);

// THE LIST of keys that a service has in YAML besides its model and prompts, each with its own name
// ("max_concurrent"), bound to the members of `service`, which outlives the result.
std::vector<Field> service_fields(Service& service);

}  // namespace nacelle::config
