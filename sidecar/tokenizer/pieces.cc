#include "sidecar/tokenizer/pieces.h"

#include <algorithm>
#include <functional>

#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {

void Pieces::add(std::uint32_t id, std::string_view piece) {
  if ((entries_.size() + 1) * 2 > table_.size()) grow();
  const auto index = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({.id = id,
                      .begin = static_cast<std::uint32_t>(bytes_.size()),
                      .size = static_cast<std::uint32_t>(piece.size())});
  bytes_ += piece;
  table_[slot(piece)] = index;
}

std::optional<std::uint32_t> Pieces::find(std::string_view piece) const {
  if (table_.empty()) return std::nullopt;
  const std::uint32_t index = table_[slot(piece)];
  if (index == kFree) return std::nullopt;
  return entries_[index].id;
}

std::optional<std::string_view> Pieces::piece(std::uint32_t id) const {
  // Without gaps, which is the rule, a piece's index is its id.
  if (id < entries_.size() && entries_[id].id == id) return text_of(entries_[id]);
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), id,
                       [](const Entry& entry, std::uint32_t i) { return entry.id < i; });
  if (found == entries_.end() || found->id != id) return std::nullopt;
  return text_of(*found);
}

std::size_t Pieces::slot(std::string_view piece) const {
  const std::size_t mask = table_.size() - 1;
  std::size_t at = std::hash<std::string_view>{}(piece)&mask;
  // Ends: the table is never more than half full.
  while (table_[at] != kFree && text_of(entries_[table_[at]]) != piece) at = (at + 1) & mask;
  return at;
}

void Pieces::grow() {
  table_.assign(std::max<std::size_t>(64, table_.size() * 2), kFree);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    table_[slot(text_of(entries_[i]))] = static_cast<std::uint32_t>(i);
  }
}

base::Status read_vocabulary(const Section& model, Pieces& pieces) {
  const auto vocabulary = model.object("vocab");
  if (!vocabulary) return vocabulary.error();
  std::vector<std::pair<std::uint32_t, std::string_view>> found;
  found.reserve(vocabulary->json().size());
  for (const auto& [piece, value] : vocabulary->json().get_ref<const files::Json::object_t&>()) {
    if (piece.empty()) return vocabulary->error("holds an empty piece");
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > kIdMax) {
      return vocabulary->error("the id of " + files::in_quotes(piece) +
                               " is not a whole number from 0 to " + std::to_string(kIdMax));
    }
    found.emplace_back(static_cast<std::uint32_t>(value.get<std::uint64_t>()), piece);
  }
  std::sort(found.begin(), found.end());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto& [id, piece] = found[i];
    if (i > 0 && found[i - 1].first == id) {
      return vocabulary->error("two pieces have the id " + std::to_string(id) + "; one is " +
                               files::in_quotes(piece));
    }
    pieces.add(id, piece);
  }
  return base::ok();
}

}  // namespace nacelle::tokenizer
