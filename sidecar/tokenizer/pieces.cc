#include "sidecar/tokenizer/pieces.h"

#include <algorithm>
#include <functional>

#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {

void Pieces::reserve(std::size_t count, std::size_t size) {
  entries_.reserve(count);
  bytes_.reserve(size);
  std::size_t slots = 64;
  while (slots < count * 2) slots *= 2;
  if (slots > table_.size()) make_table(slots);
}

bool Pieces::add(std::uint32_t id, std::string_view piece) {
  if ((entries_.size() + 1) * 2 > table_.size()) {
    make_table(std::max<std::size_t>(64, table_.size() * 2));
  }
  const auto index = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({.id = id,
                      .begin = static_cast<std::uint32_t>(bytes_.size()),
                      .size = static_cast<std::uint32_t>(piece.size())});
  bytes_ += piece;
  std::uint32_t& place = table_[slot(piece)];
  const bool is_new = place == kFree;
  place = index;
  return is_new;
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

void Pieces::make_table(std::size_t size) {
  table_.assign(size, kFree);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    table_[slot(text_of(entries_[i]))] = static_cast<std::uint32_t>(i);
  }
}

base::Status read_vocabulary(const Section& model, Listing& vocab, Pieces& pieces) {
  const auto section = model.object("vocab");
  if (!section) return section.error();
  if (vocab.is_cut()) {
    return section->error("has more than " + std::to_string(Listing::kElementsMax) + " pieces");
  }
  std::vector<std::uint64_t> order;  // id << 32 | index in vocab
  order.reserve(vocab.size());
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const Listing::Element element = vocab[i];
    if (element.first.empty()) return section->error("holds an empty piece");
    if (element.kind != Listing::Kind::kNumber || element.number > kIdMax) {
      return section->error("the id of " + files::in_quotes(element.first) +
                            " is not a whole number from 0 to " + std::to_string(kIdMax));
    }
    order.push_back(static_cast<std::uint64_t>(element.number) << 32U | i);
  }
  std::sort(order.begin(), order.end());
  pieces.reserve(vocab.size(), vocab.text_size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto id = static_cast<std::uint32_t>(order[i] >> 32U);
    const std::string_view piece = vocab[order[i] & UINT32_MAX].first;
    if (i > 0 && order[i - 1] >> 32U == id) {
      return section->error("two pieces have the id " + std::to_string(id) + "; one is " +
                            files::in_quotes(piece));
    }
    if (!pieces.add(id, piece)) {
      return section->error("holds " + files::in_quotes(piece) + " twice");
    }
  }
  vocab.clear();
  return base::ok();
}

}  // namespace nacelle::tokenizer
