#include "sidecar/tokenizer/vocabulary.h"

#include <algorithm>
#include <utility>

#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::size_t kSlotsAtStart = 1024;
constexpr unsigned kCodePointBits = 21;

std::uint64_t mix(std::uint64_t key) {
  // The multiplier is 2^64 / golden ratio; the high half holds the well-mixed bits.
  key *= 0x9E3779B97F4A7C15ULL;
  return key ^ key >> 32U;
}

}  // namespace

Vocabulary::Vocabulary(std::size_t slots_max)
    : slots_max_(slots_max), table_(std::min(kSlotsAtStart, slots_max)) {}

std::size_t Vocabulary::slot(std::uint32_t node, char32_t code_point) const {
  const std::uint64_t key = std::uint64_t{node} << kCodePointBits | code_point;
  const std::size_t mask = table_.size() - 1;
  std::size_t at = mix(key) & mask;
  // Ends: the table is never full.
  while (table_[at].key != key && table_[at].key != kFree) at = (at + 1) & mask;
  return at;
}

void Vocabulary::grow() {
  std::vector<Edge> old(table_.size() * 2);
  old.swap(table_);
  for (const Edge& edge : old) {
    if (edge.key == kFree) continue;
    const auto node = static_cast<std::uint32_t>(edge.key >> kCodePointBits);
    const auto code_point = static_cast<char32_t>(edge.key & ((1U << kCodePointBits) - 1));
    table_[slot(node, code_point)] = edge;
  }
}

bool Vocabulary::add(std::string_view piece, std::uint32_t id) {
  if (piece.empty()) return false;
  std::uint32_t node = kRoot;
  std::size_t at = 0;
  for (std::size_t offset = 0; offset < piece.size();) {
    const char32_t code_point = decode(piece, offset);
    at = slot(node, code_point);
    if (table_[at].key == kFree) {
      if (is_full()) return false;
      if ((edges_ + 1) * 2 > table_.size() && table_.size() < slots_max_) {
        grow();
        at = slot(node, code_point);
      }
      ++edges_;
      table_[at].key = std::uint64_t{node} << kCodePointBits | code_point;
      table_[at].child = static_cast<std::uint32_t>(edges_);
    }
    node = table_[at].child;
  }
  if (table_[at].id != kNone) return false;
  table_[at].id = id;
  ++pieces_;
  return true;
}

std::optional<std::uint32_t> Vocabulary::find(std::string_view piece) const {
  Match match;
  if (!longest(kRoot, piece, 0, match) || match.end != piece.size()) return std::nullopt;
  return match.id;
}

std::uint32_t Vocabulary::node(std::string_view text) const {
  std::uint32_t node = kRoot;
  for (std::size_t offset = 0; offset < text.size();) {
    const Edge& edge = table_[slot(node, decode(text, offset))];
    if (edge.key == kFree) return kNone;
    node = edge.child;
  }
  return node;
}

bool Vocabulary::longest(std::uint32_t node, std::string_view text, std::size_t offset,
                         Match& match) const {
  bool found = false;
  while (offset < text.size()) {
    const Edge& edge = table_[slot(node, decode(text, offset))];
    if (edge.key == kFree) break;
    node = edge.child;
    if (edge.id == kNone) continue;
    match = {.id = edge.id, .end = offset};
    found = true;
  }
  return found;
}

}  // namespace nacelle::tokenizer
