// The byte level as normalizer, pre-tokenizer and decoder.
#include "sidecar/tokenizer/byte_level.h"

#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/split.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::uint16_t kNoByte = 256;

std::array<char32_t, 256> make_letters() {
  std::array<char32_t, 256> letters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool graphic =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    letters[byte] = graphic ? byte : next++;
  }
  return letters;
}

std::array<std::uint16_t, kLettersEnd> make_bytes() {
  std::array<std::uint16_t, kLettersEnd> bytes{};
  bytes.fill(kNoByte);
  for (std::uint16_t byte = 0; byte < 256; ++byte) bytes[letters_of_bytes()[byte]] = byte;
  return bytes;
}

class ByteLevelNormalizer final : public Normalizer {
 public:
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    append_letters(text, out);
    return true;
  }
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, std::unique_ptr<Pattern> pattern)
      : add_prefix_space_(add_prefix_space), pattern_(std::move(pattern)) {}

  void start(Cursor& cursor) const override {
    if (!add_prefix_space_ || cursor.text.empty() || cursor.text.front() == ' ') return;
    cursor.own.assign(1, ' ');
    cursor.own += cursor.text;
    cursor.text = cursor.own;
  }

  [[nodiscard]] std::string_view next(Cursor& cursor) const override {
    std::string_view word;
    if (pattern_ == nullptr) {
      word = cursor.text.substr(cursor.offset);
      cursor.offset = cursor.text.size();
    } else {
      word = next_word(cursor, *pattern_, {.behavior = Behavior::kIsolated, .invert = false});
    }
    if (bytes_ || word.empty()) return word;
    cursor.word.clear();
    append_letters(word, cursor.word);
    return cursor.word;
  }

  bool give_bytes() override {
    bytes_ = true;
    return true;
  }

 private:
  bool add_prefix_space_;
  bool bytes_ = false;
  std::unique_ptr<Pattern> pattern_;  // nullptr: a piece is a word
};

class ByteLevelDecoder final : public Decoder {
 public:
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    std::string bytes;
    for (const std::string& piece : pieces) {
      if (!append_bytes(piece, bytes)) bytes += piece;
    }
    pieces.assign(1, replace_invalid_utf8(bytes));
    return true;
  }
};

}  // namespace

const std::array<char32_t, 256>& letters_of_bytes() {
  static const std::array<char32_t, 256> letters = make_letters();
  return letters;
}

std::optional<std::uint8_t> byte_of_letter(char32_t letter) {
  static const std::array<std::uint16_t, kLettersEnd> bytes = make_bytes();
  if (letter >= kLettersEnd || bytes[letter] == kNoByte) return std::nullopt;
  return static_cast<std::uint8_t>(bytes[letter]);
}

void append_letters(std::string_view bytes, std::string& out) {
  const auto& letters = letters_of_bytes();
  for (const char byte : bytes) append(out, letters[static_cast<unsigned char>(byte)]);
}

bool append_bytes(std::string_view letters, std::string& out) {
  const std::size_t size_before = out.size();
  for (std::size_t offset = 0; offset < letters.size();) {
    const auto byte = byte_of_letter(decode(letters, offset));
    if (!byte) {
      out.resize(size_before);
      return false;
    }
    out.push_back(static_cast<char>(*byte));
  }
  return true;
}

NormalizerResult make_byte_level_normalizer(const Section& section) {
  const base::Status keys = section.only({"type"});
  if (!keys) return keys.error();
  return std::unique_ptr<Normalizer>(std::make_unique<ByteLevelNormalizer>());
}

PreTokenizerResult make_byte_level(const Section& section) {
  const base::Status keys = section.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (!keys) return keys.error();
  const auto add_prefix_space = section.boolean("add_prefix_space");
  if (!add_prefix_space) return add_prefix_space.error();
  const auto use_regex = section.boolean_or("use_regex", true);
  if (!use_regex) return use_regex.error();
  std::unique_ptr<Pattern> pattern;
  if (*use_regex) {
    auto made = make_regex(section, kGpt2Pattern);
    if (!made) return made.error();
    pattern = std::move(*made);
  }
  return std::unique_ptr<PreTokenizer>(
      std::make_unique<ByteLevel>(*add_prefix_space, std::move(pattern)));
}

DecoderResult make_byte_level_decoder(const Section& section) {
  const base::Status keys = section.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (!keys) return keys.error();
  return std::unique_ptr<Decoder>(std::make_unique<ByteLevelDecoder>());
}

}  // namespace nacelle::tokenizer
