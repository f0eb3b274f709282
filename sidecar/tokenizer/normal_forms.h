// Unicode's normalization forms (Unicode Standard Annex 15), with the tables of Hugging Face's
// tokenizers: libutf8proc's, corrected by unicode_pins.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nacelle::tokenizer {

enum class Form : std::uint8_t { kNfc = 1, kNfd = 2, kNfkc = 4, kNfkd = 8 };

// Appends the form of `text`. Linear, but for n log n where n marks follow one character.
void append_normal_form(std::string_view text, Form form, std::string& out);

}  // namespace nacelle::tokenizer
