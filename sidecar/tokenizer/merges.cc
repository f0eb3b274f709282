#include "sidecar/tokenizer/merges.h"

#include <algorithm>
#include <array>
#include <functional>

namespace nacelle::tokenizer {
namespace {

// Up to this many symbols, scanning all pairs for the best one beats keeping a heap.
constexpr std::size_t kScannedMax = 48;

}  // namespace

std::size_t Merges::slot(std::uint64_t key) const {
  std::size_t at = mix(key) & mask_;
  // Ends: the table is never more than half full.
  while (table_[at].key != key && table_[at].key != kFree) at = (at + 1) & mask_;
  return at;
}

void Merges::reserve(std::size_t count) {
  std::size_t size = table_.size();
  while (size < count * 2) size *= 2;
  if (size == table_.size()) return;
  std::vector<Slot> old(size);
  old.swap(table_);
  mask_ = size - 1;
  for (const Slot& one : old) {
    if (one.key != kFree) table_[slot(one.key)] = one;
  }
}

void Merges::add(std::uint32_t left, std::uint32_t right, Merge merge) {
  if ((count_ + 1) * 2 > table_.size()) reserve(table_.size());
  Slot& one = table_[slot(key_of(left, right))];
  if (one.key == kFree) ++count_;
  one = {.key = key_of(left, right), .merge = merge};
}

void Merges::apply(std::vector<std::uint32_t>& ids, std::size_t from) const {
  const std::size_t size = ids.size() - from;
  if (size < 2) return;
  if (size <= kScannedMax) {
    apply_scanning(ids, from);
  } else {
    apply_with_heap(ids, from);
  }
}

void Merges::apply_scanning(std::vector<std::uint32_t>& ids, std::size_t from) const {
  std::array<Merge, kScannedMax> with_next;  // [size - 1]  of each symbol and the one behind it
  std::uint32_t* const symbols = ids.data() + from;
  std::size_t size = ids.size() - from;
  for (std::size_t i = 0; i + 1 < size; ++i) with_next[i] = find(symbols[i], symbols[i + 1]);
  while (size > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < size; ++i) {
      if (with_next[i].rank < with_next[best].rank) best = i;
    }
    if (with_next[best].rank == kNone) break;
    symbols[best] = with_next[best].id;
    --size;
    std::copy(symbols + best + 2, symbols + size + 1, symbols + best + 1);
    std::copy(with_next.begin() + static_cast<std::ptrdiff_t>(best) + 1,
              with_next.begin() + static_cast<std::ptrdiff_t>(size),
              with_next.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) with_next[best - 1] = find(symbols[best - 1], symbols[best]);
    if (best + 1 < size) with_next[best] = find(symbols[best], symbols[best + 1]);
  }
  ids.resize(from + size);
}

void Merges::apply_with_heap(std::vector<std::uint32_t>& ids, std::size_t from) const {
  struct Symbol {
    std::uint32_t id;
    std::uint32_t before;  // index, or kNone at the front
    std::uint32_t behind;  // index, or kNone at the end
    Merge with_next;       // rank kNone when the symbol is gone, too
  };
  const std::size_t size = ids.size() - from;
  std::vector<Symbol> symbols(size);
  std::vector<std::uint64_t> heap;  // rank << 32 | index, the least on top; some are out of date
  for (std::size_t i = 0; i < size; ++i) {
    const auto index = static_cast<std::uint32_t>(i);
    symbols[i] = {.id = ids[from + i],
                  .before = index - 1,  // kNone for the first
                  .behind = i + 1 < size ? index + 1 : kNone,
                  .with_next = {}};
    if (i + 1 == size) continue;
    symbols[i].with_next = find(ids[from + i], ids[from + i + 1]);
    if (symbols[i].with_next.rank == kNone) continue;
    heap.push_back(std::uint64_t{symbols[i].with_next.rank} << 32U | index);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto look_again = [&](std::uint32_t index) {
    Symbol& symbol = symbols[index];
    symbol.with_next =
        symbol.behind == kNone ? Merge{} : find(symbol.id, symbols[symbol.behind].id);
    if (symbol.with_next.rank == kNone) return;
    heap.push_back(std::uint64_t{symbol.with_next.rank} << 32U | index);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto index = static_cast<std::uint32_t>(heap.back());
    const auto rank = static_cast<std::uint32_t>(heap.back() >> 32U);
    heap.pop_back();
    Symbol& symbol = symbols[index];
    if (symbol.with_next.rank != rank) continue;
    Symbol& gone = symbols[symbol.behind];
    symbol.id = symbol.with_next.id;
    symbol.behind = gone.behind;
    gone.with_next = {};
    if (symbol.behind != kNone) symbols[symbol.behind].before = index;
    look_again(index);
    if (symbol.before != kNone) look_again(symbol.before);
  }
  std::size_t out = from;
  for (std::uint32_t i = 0; i != kNone; i = symbols[i].behind) ids[out++] = symbols[i].id;
  ids.resize(out);
}

}  // namespace nacelle::tokenizer
