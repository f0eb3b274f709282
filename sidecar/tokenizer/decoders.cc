// Pieces back to text: the decoders of a few lines each.
#include <algorithm>
#include <utility>

#include "sidecar/base/utf8.h"
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/split.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, begin)) {
    out.append(text, begin, at - begin);
    out += to;
    begin = at + from.size();
  }
  out.append(text, begin);
  text = std::move(out);
}

// Takes back the spaces that stand before punctuation and English short forms.
void clean_up(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kSteps[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kSteps) replace_all(text, from, to);
}

class WordPieceDecoder final : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0) {
        if (pieces[i].starts_with(prefix_)) {
          pieces[i].erase(0, prefix_.size());
        } else {
          pieces[i].insert(0, 1, ' ');
        }
      }
      if (cleanup_) clean_up(pieces[i]);
    }
    return true;
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

class BpeDecoder final : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      replace_all(pieces[i], suffix_, i + 1 == pieces.size() ? "" : " ");
    }
    return true;
  }

 private:
  std::string suffix_;
};

// Pieces such as "<0xEA>" become the text of their bytes, or U+FFFD for each where they are none.
class ByteFallback final : public Decoder {
 public:
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (base::find_invalid_utf8(bytes)) {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      } else {
        out.push_back(bytes);
      }
      bytes.clear();
    };
    for (std::string& piece : pieces) {
      const int byte = byte_of(piece);
      if (byte >= 0) {
        bytes.push_back(static_cast<char>(byte));
        continue;
      }
      flush();
      out.push_back(std::move(piece));
    }
    flush();
    pieces = std::move(out);
    return true;
  }

 private:
  static int byte_of(std::string_view piece) {
    if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
    const auto digit = [](char c) {
      if (c >= '0' && c <= '9') return c - '0';
      if (c >= 'A' && c <= 'F') return c - 'A' + 10;
      if (c >= 'a' && c <= 'f') return c - 'a' + 10;
      return -1;
    };
    // Rust's parser of numbers takes a sign, too.
    const int high = piece[3] == '+' ? 0 : digit(piece[3]);
    const int low = digit(piece[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
  }
};

class Fuse final : public Decoder {
 public:
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    pieces.assign(1, all);
    return true;
  }
};

class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, std::size_t start, std::size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) {
      std::string_view rest = piece;
      for (std::size_t i = 0; i < start_ && rest.starts_with(content_); ++i) {
        rest.remove_prefix(content_.size());
      }
      for (std::size_t i = 0; i < stop_ && rest.ends_with(content_); ++i) {
        rest.remove_suffix(content_.size());
      }
      piece = std::string(rest);
    }
    return true;
  }

 private:
  std::string content_;  // one character
  std::size_t start_;
  std::size_t stop_;
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) {
      std::string out;
      if (!replace_matches(piece, *pattern_, content_, out)) return false;
      piece = std::move(out);
    }
    return true;
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

// Speech: repeated pieces are one, and the padding between them is none.
class Ctc final : public Decoder {
 public:
  Ctc(std::string padding, std::string delimiter, bool cleanup)
      : padding_(std::move(padding)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
    for (std::string& piece : pieces) {
      replace_all(piece, padding_, "");
      if (!cleanup_) continue;
      clean_up(piece);
      replace_all(piece, delimiter_, " ");
    }
    pieces.erase(std::remove(pieces.begin(), pieces.end(), std::string()), pieces.end());
    return true;
  }

 private:
  std::string padding_;
  std::string delimiter_;
  bool cleanup_;
};

template <typename Made>
DecoderResult make_plain(const Section& section) {
  const base::Status keys = section.only({"type"});
  if (!keys) return keys.error();
  return std::unique_ptr<Decoder>(std::make_unique<Made>());
}

}  // namespace

DecoderResult make_wordpiece_decoder(const Section& section) {
  const base::Status keys = section.only({"type", "prefix", "cleanup"});
  if (!keys) return keys.error();
  auto prefix = section.text("prefix");
  if (!prefix) return prefix.error();
  const auto cleanup = section.boolean("cleanup");
  if (!cleanup) return cleanup.error();
  return std::unique_ptr<Decoder>(std::make_unique<WordPieceDecoder>(std::move(*prefix), *cleanup));
}

DecoderResult make_bpe_decoder(const Section& section) {
  const base::Status keys = section.only({"type", "suffix"});
  if (!keys) return keys.error();
  auto suffix = section.text("suffix");
  if (!suffix) return suffix.error();
  return std::unique_ptr<Decoder>(std::make_unique<BpeDecoder>(std::move(*suffix)));
}

DecoderResult make_byte_fallback_decoder(const Section& section) {
  return make_plain<ByteFallback>(section);
}
DecoderResult make_fuse_decoder(const Section& section) { return make_plain<Fuse>(section); }

DecoderResult make_strip_decoder(const Section& section) {
  const base::Status keys = section.only({"type", "content", "start", "stop"});
  if (!keys) return keys.error();
  const auto content = section.character("content");
  if (!content) return content.error();
  const auto start = section.number("start", UINT32_MAX);
  if (!start) return start.error();
  const auto stop = section.number("stop", UINT32_MAX);
  if (!stop) return stop.error();
  std::string text;
  append(text, *content);
  return std::unique_ptr<Decoder>(std::make_unique<StripDecoder>(std::move(text), *start, *stop));
}

DecoderResult make_replace_decoder(const Section& section) {
  const base::Status keys = section.only({"type", "pattern", "content"});
  if (!keys) return keys.error();
  auto content = section.text("content");
  if (!content) return content.error();
  if (content->size() > kInsertSizeMax) {
    return section.error("content", "is longer than " + std::to_string(kInsertSizeMax) + " bytes");
  }
  auto pattern = make_pattern(section);
  if (!pattern) return pattern.error();
  return std::unique_ptr<Decoder>(
      std::make_unique<ReplaceDecoder>(std::move(*pattern), std::move(*content)));
}

DecoderResult make_ctc_decoder(const Section& section) {
  const base::Status keys = section.only({"type", "pad_token", "word_delimiter_token", "cleanup"});
  if (!keys) return keys.error();
  auto padding = section.text("pad_token");
  if (!padding) return padding.error();
  auto delimiter = section.text("word_delimiter_token");
  if (!delimiter) return delimiter.error();
  const auto cleanup = section.boolean("cleanup");
  if (!cleanup) return cleanup.error();
  return std::unique_ptr<Decoder>(
      std::make_unique<Ctc>(std::move(*padding), std::move(*delimiter), *cleanup));
}

}  // namespace nacelle::tokenizer
