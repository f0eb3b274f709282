// GPT-2's letters for bytes: graphic characters of Latin-1 stand for themselves, the others for
// U+0100, U+0101, ... in their order. So any bytes are text, and a space is "Ġ".
// https://github.com/openai/gpt-2 (encoder.py)
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nacelle::tokenizer {

inline constexpr std::size_t kLettersEnd = 0x144;  // behind the last letter

// [256] the letter of each byte.
const std::array<char32_t, 256>& letters_of_bytes();

// The byte that a letter stands for.
[[nodiscard]] std::optional<std::uint8_t> byte_of_letter(char32_t letter);

// Appends the letters of `bytes`.
void append_letters(std::string_view bytes, std::string& out);

// Appends the bytes of `letters`; false, with nothing appended, when it holds another character.
bool append_bytes(std::string_view letters, std::string& out);

}  // namespace nacelle::tokenizer
