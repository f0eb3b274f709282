// See split.h.
#include "sidecar/schedule/split.h"

#include <algorithm>
#include <vector>

#include "sidecar/base/check.h"

namespace nacelle::sidecar {

void recount(Batch& batch) {
  batch.tokens = batch.texts = 0;
  std::vector<const ClientState*> clients;
  for (const Slice& slice : batch.slices) {
    for (std::uint32_t i = slice.first; i < slice.first + slice.count; ++i) {
      batch.tokens += slice.request->tokens(i);
      batch.texts += slice.request->tokens(i) > 0 ? 1U : 0U;
    }
    clients.push_back(slice.request->client.get());
  }
  std::sort(clients.begin(), clients.end());
  batch.clients =
      static_cast<std::uint32_t>(std::unique(clients.begin(), clients.end()) - clients.begin());
}

std::pair<Batch, Batch> split(const Batch& batch) {
  CHECK(batch.texts >= 2);
  std::pair<Batch, Batch> halves;
  auto& [first, second] = halves;
  for (Batch* half : {&first, &second}) {
    half->service = batch.service;
    half->task = batch.task;
    half->raw = batch.raw;
  }
  const std::uint32_t half_tokens = batch.tokens / 2;
  std::uint32_t tokens = 0;
  std::uint32_t texts = 0;
  bool cut = false;
  for (const Slice& slice : batch.slices) {
    Slice head{slice.request, slice.first, 0};
    for (std::uint32_t i = slice.first; !cut && i < slice.first + slice.count; ++i) {
      const std::uint32_t window = slice.request->tokens(i);
      // The first text is always in the first half, the last one never.
      if (window > 0 && texts > 0 && (tokens + window > half_tokens || texts + 1 == batch.texts)) {
        cut = true;
        break;
      }
      tokens += window;
      texts += window > 0 ? 1U : 0U;
      ++head.count;
    }
    const Slice tail{slice.request, slice.first + head.count, slice.count - head.count};
    if (head.count > 0) first.slices.push_back(head);
    if (tail.count > 0) second.slices.push_back(tail);
  }
  recount(first);
  recount(second);
  CHECK(first.texts > 0 && second.texts > 0);
  return halves;
}

}  // namespace nacelle::sidecar
