// TemplateProcessing: special tokens around the text, e.g. [CLS] $A [SEP], or around two,
// e.g. [CLS] $A [SEP] $B [SEP], each part with its type id.
#include <span>

#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::size_t kPiecesMax = 64;         // of one template
constexpr std::size_t kSpecialTokensMax = 64;  // that a template may name
constexpr std::uint32_t kTypeMax = 255;        // type ids

struct Piece {
  std::vector<std::uint32_t> ids;  // empty: the text itself
  std::uint32_t type = 0;
  char sequence = '\0';  // 'A' or 'B' for a text, 0 for special tokens
};

class TemplateReader {
 public:
  TemplateReader(const Section& section, std::size_t id_limit)
      : section_(section), id_limit_(id_limit) {}

  // The template `name`, in which each of `sequences` must stand exactly once.
  [[nodiscard]] base::Result<std::vector<Piece>> read(std::string_view name,
                                                      std::string_view sequences) const {
    const auto list = section_.list(name, kPiecesMax);
    if (!list) return list.error();
    std::vector<Piece> pieces;
    std::string seen;
    for (std::size_t i = 0; i < list->json().size(); ++i) {
      auto piece = read_piece(list->element(i));
      if (!piece) return piece.error();
      if (piece->sequence != '\0') seen += piece->sequence;
      pieces.push_back(std::move(*piece));
    }
    for (const char sequence : sequences) {
      if (seen.find(sequence) != std::string::npos && seen.size() == sequences.size()) continue;
      return section_.error(name, "must hold the sequences " + std::string(sequences) +
                                      " once each, but holds \"" + seen + "\"");
    }
    return pieces;
  }

 private:
  [[nodiscard]] base::Result<Piece> read_piece(const Section& section) const {
    const base::Status keys = section.only({"SpecialToken", "Sequence"});
    if (!keys) return keys.error();
    if (section.json().size() != 1) {
      return section.error("must be either a SpecialToken or a Sequence");
    }
    const bool special = section.has("SpecialToken");
    const auto body = section.object(special ? "SpecialToken" : "Sequence");
    if (!body) return body.error();
    const base::Status body_keys = body->only({"id", "type_id"});
    if (!body_keys) return body_keys.error();
    const auto id = body->text("id");
    if (!id) return id.error();
    const auto type = body->number("type_id", kTypeMax);
    if (!type) return type.error();

    Piece piece;
    piece.type = *type;
    if (special) {
      auto ids = read_special(*body, *id);
      if (!ids) return ids.error();
      piece.ids = std::move(*ids);
      return piece;
    }
    if (*id != "A" && *id != "B") return body->error("id", "must be \"A\" or \"B\"");
    piece.sequence = id->front();
    return piece;
  }

  // The ids of the special token that `user` names.
  [[nodiscard]] base::Result<std::vector<std::uint32_t>> read_special(
      const Section& user, const std::string& name) const {
    const auto table = section_.object("special_tokens");
    if (!table) return table.error();
    if (!table->has(name)) {
      return user.error("id", files::in_quotes(name) + " is not in post_processor.special_tokens");
    }
    const auto entry = table->object(name);
    if (!entry) return entry.error();
    const base::Status keys = entry->only({"id", "ids", "tokens"});
    if (!keys) return keys.error();
    const auto list = entry->list("ids", kSpecialTokensMax);
    if (!list) return list.error();
    std::vector<std::uint32_t> ids;
    for (const auto& value : list->json()) {
      if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= id_limit_) {
        return list->error("holds an id that is not in the vocabulary, whose largest is " +
                           std::to_string(id_limit_ - 1));
      }
      ids.push_back(static_cast<std::uint32_t>(value.get<std::uint64_t>()));
    }
    if (ids.empty()) return list->error("is empty");
    return ids;
  }

  const Section& section_;
  std::size_t id_limit_;
};

class TemplateProcessing final : public PostProcessor {
 public:
  TemplateProcessing(std::vector<Piece> single, std::vector<Piece> pair)
      : single_(std::move(single)), pair_(std::move(pair)) {
    for (const Piece& piece : single_) added_ += piece.ids.size();
    for (const Piece& piece : pair_) added_to_pair_ += piece.ids.size();
  }

  [[nodiscard]] std::size_t added() const override { return added_; }
  [[nodiscard]] std::size_t added_to_pair() const override { return added_to_pair_; }

  void apply(std::vector<std::uint32_t> ids, Encoding& out) const override {
    fill(single_, ids, {}, ids.size() + added_, out);
  }
  void apply_pair(std::vector<std::uint32_t> first, std::vector<std::uint32_t> second,
                  Encoding& out) const override {
    fill(pair_, first, second, first.size() + second.size() + added_to_pair_, out);
  }

 private:
  static void fill(const std::vector<Piece>& pieces, std::span<const std::uint32_t> first,
                   std::span<const std::uint32_t> second, std::size_t size, Encoding& out) {
    out.ids.clear();
    out.types.clear();
    out.ids.reserve(size);
    out.types.reserve(size);
    for (const Piece& piece : pieces) {
      const std::span<const std::uint32_t> part = piece.sequence == 'A'   ? first
                                                  : piece.sequence == 'B' ? second
                                                                          : std::span(piece.ids);
      out.ids.insert(out.ids.end(), part.begin(), part.end());
      out.types.insert(out.types.end(), part.size(), piece.type);
    }
  }

  std::vector<Piece> single_;
  std::vector<Piece> pair_;
  std::size_t added_ = 0;
  std::size_t added_to_pair_ = 0;
};

}  // namespace

base::Result<std::unique_ptr<PostProcessor>> make_template_processing(const Section& section,
                                                                      std::size_t id_limit) {
  const base::Status keys = section.only({"type", "single", "pair", "special_tokens"});
  if (!keys) return keys.error();
  const TemplateReader reader(section, id_limit);
  auto single = reader.read("single", "A");
  if (!single) return single.error();
  auto pair = reader.read("pair", "AB");
  if (!pair) return pair.error();
  return std::unique_ptr<PostProcessor>(
      std::make_unique<TemplateProcessing>(std::move(*single), std::move(*pair)));
}

}  // namespace nacelle::tokenizer
