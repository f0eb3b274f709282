// SentencePiece's map of characters ("precompiled_charsmap"): texts of up to a few characters and
// what they become, found in a double-array trie.
//
//   size of the trie in bytes, 4, little endian | the trie, units of 4 bytes | the texts, each
//   ended by a NUL
//
// Units are those of Darts-clone (https://github.com/s-yata/darts-clone, dawg/trie units). The
// whole grapheme cluster is looked up first when it has fewer than 6 bytes, then its characters;
// like the reference library, the shortest entry that begins it decides, and replaces it whole.
#include <cstring>

#include "sidecar/base/utf8.h"
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::size_t kClusterSizeEnd = 6;  // bytes; a longer cluster is not looked up whole

class Precompiled final : public Normalizer {
 public:
  static NormalizerResult make(const Section& section) {
    const base::Status keys = section.only({"type", "precompiled_charsmap"});
    if (!keys) return keys.error();
    auto result = std::make_unique<Precompiled>();
    // transformers writes null for a model without a map.
    if (!section.has("precompiled_charsmap")) return std::unique_ptr<Normalizer>(std::move(result));
    const auto encoded = section.view("precompiled_charsmap");
    if (!encoded) return encoded.error();
    const auto problem = [&](const std::string& what) {
      return section.error("precompiled_charsmap", what);
    };
    std::string bytes;
    if (!decode_base64(*encoded, bytes)) return problem("is not base64");
    if (bytes.empty()) return std::unique_ptr<Normalizer>(std::move(result));
    std::uint32_t trie_size = 0;
    if (bytes.size() < sizeof trie_size) return problem("is too short for the size of its trie");
    std::memcpy(&trie_size, bytes.data(), sizeof trie_size);
    if (trie_size % sizeof(std::uint32_t) != 0 || trie_size > bytes.size() - sizeof trie_size) {
      return problem("tells of a trie of " + std::to_string(trie_size) + " bytes, but has " +
                     std::to_string(bytes.size() - sizeof trie_size));
    }
    result->units_.resize(trie_size / sizeof(std::uint32_t));
    if (trie_size > 0) std::memcpy(result->units_.data(), &bytes[sizeof trie_size], trie_size);
    bytes.erase(0, sizeof trie_size + trie_size);
    result->texts_ = std::move(bytes);
    if (base::find_invalid_utf8(result->texts_)) return problem("holds texts that are not UTF-8");
    return std::unique_ptr<Normalizer>(std::move(result));
  }

  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    if (units_.empty()) {
      out += text;
      return true;
    }
    const std::size_t size_max = out.size() + normal_size_max(text);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = cluster_end(text, begin);
      const std::string_view cluster = text.substr(begin, end - begin);
      begin = end;
      if (cluster.size() >= kClusterSizeEnd || !replace(cluster, out)) {
        for (std::size_t offset = 0; offset < cluster.size();) {
          const std::size_t from = offset;
          skip(cluster, offset);
          const std::string_view character = cluster.substr(from, offset - from);
          if (!replace(character, out)) out += character;
          if (out.size() > size_max) return false;
        }
      }
      if (out.size() > size_max) return false;
    }
    return true;
  }

 private:
  static bool decode_base64(std::string_view text, std::string& out) {
    const auto value = [](char c) -> int {
      if (c >= 'A' && c <= 'Z') return c - 'A';
      if (c >= 'a' && c <= 'z') return c - 'a' + 26;
      if (c >= '0' && c <= '9') return c - '0' + 52;
      return c == '+' ? 62 : c == '/' ? 63 : -1;
    };
    while (text.ends_with('=')) text.remove_suffix(1);
    out.reserve(text.size() / 4 * 3 + 3);
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
      const int six = value(c);
      if (six < 0) return false;
      bits = bits << 6U | static_cast<std::uint32_t>(six);
      count += 6;
      if (count < 8) continue;
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xFFU));
    }
    return true;
  }

  static std::size_t cluster_end(std::string_view text, std::size_t begin) {
    std::size_t end = begin;
    char32_t last = decode(text, end);
    bool alone = last < 0x80 ? last >= 0x20 : stands_alone(last);
    std::int32_t state = 0;
    while (end < text.size()) {
      std::size_t after = end;
      const char32_t next = decode(text, after);
      const bool next_alone = next < 0x80 ? next >= 0x20 : stands_alone(next);
      if ((alone && next_alone) || cluster_ends(last, next, state)) break;
      last = next;
      alone = next_alone;
      end = after;
    }
    return end;
  }

  // Appends what `chunk` becomes; false when it stays.
  bool replace(std::string_view chunk, std::string& out) const {
    std::size_t node = offset_of(units_[0]);
    for (const char c : chunk) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte == 0) return false;
      node ^= byte;
      if (node >= units_.size()) return false;
      const std::uint32_t unit = units_[node];
      if ((unit & (1U << 31U | 0xFFU)) != byte) return false;
      node ^= offset_of(unit);
      if (node >= units_.size()) return false;
      if ((unit >> 8U & 1U) == 0) continue;
      const std::size_t text = units_[node] & ((1U << 31U) - 1);
      if (text >= texts_.size()) return true;
      out.append(texts_, text, texts_.find('\0', text) - text);
      return true;
    }
    return false;
  }

  static std::size_t offset_of(std::uint32_t unit) {
    return std::size_t{unit >> 10U} << ((unit & (1U << 9U)) >> 6U);
  }

  std::vector<std::uint32_t> units_;
  std::string texts_;
};

}  // namespace

NormalizerResult make_precompiled(const Section& section) { return Precompiled::make(section); }

}  // namespace nacelle::tokenizer
