// What Metaspace says as a pre-tokenizer and as a decoder.
#pragma once

#include <cstdint>
#include <string>

#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {

struct Metaspace {
  enum class Prepend : std::uint8_t { kAlways, kFirst, kNever };
  std::string mark;  // one character
  Prepend prepend = Prepend::kAlways;
  bool split = true;  // a word begins at each mark
};

base::Result<Metaspace> read_metaspace(const Section& section);

}  // namespace nacelle::tokenizer
