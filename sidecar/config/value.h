// One option's value: from what somebody wrote to the typed member, with its bounds, and back to
// text. The three places settings come from (yaml.h, environment.h, flags.h) all end here.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/config/fields.h"

namespace nacelle::config {

// One option as it was written in one place.
struct Setting {
  std::string name;  // of the option
  // A single text (a YAML scalar, a flag, a variable), a YAML list, or a YAML map of services.
  std::variant<std::string, std::vector<std::string>, std::vector<Service>> written;
  std::string where;  // "/etc/nacelle.yaml:3:10", "NACELLE_SOCKET", "--socket"
};

// Everything wrong with a configuration, so that an operator can repair it in one go.
struct Problems {
  static constexpr std::size_t kMax = 20;  // further ones are counted, not kept

  void add(std::string sentence);
  [[nodiscard]] base::Error error() const;  // all of them, code kInvalid
  [[nodiscard]] bool none() const { return count == 0; }

  std::vector<std::string> sentences;
  std::size_t count = 0;
};

// Writes the setting into the field's member; on a problem the member keeps its value. The problem
// names the option, the value, where it was written, and what would be right.
void assign(const Field& field, const Setting& setting, Problems& problems);

// The value as it would be written in a flag: "64", "auto", "info", "a=/x,b=/y".
std::string value_text(const Field& field);

// The kind of value, and what it may be: "whole number", "1 to 256"; bounds may be empty.
std::string type_text(const Field& field);
std::string bounds_text(const Field& field);

// `text` in double quotes, cut to a readable length, with bytes that do not print escaped: what
// others wrote must not be able to fake a line of our errors.
std::string quoted(std::string_view text);

}  // namespace nacelle::config
