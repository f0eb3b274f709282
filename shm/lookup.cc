#include "shm/lookup.h"

#include <cstring>
#include <optional>
#include <utility>

#include "shm/cache_key.h"
#include "sidecar/base/bytes.h"

namespace nacelle::shm {

Lookup look_up(const CacheReader& cache, const Service& service, const ListCall& call) {
  Lookup looked;
  if (!cache_use(service.cache.mode, call.options.cache).reads) return looked;
  if (service.cache.domain.empty() || cache.generation() != service.cache.generation) return looked;
  const bool reranks = call.op == Op::kRerank;
  const Wanted wanted = wanted_of(call.options);
  const CacheKeys keys({.domain = service.cache.domain,
                        .answers = service.cache.answers,
                        .op = call.op,
                        .parameters = wanted.parameters,
                        .prompt = wanted.prompt,
                        .query = reranks ? std::optional(call.texts[0]) : std::nullopt});
  const std::uint64_t size = row_size(call.options.dtype, call.width);
  const auto rows = static_cast<std::uint32_t>(call.rows());
  const auto texts = call.texts.last(rows);
  for (std::uint32_t i = 0; i < rows; ++i) {
    ItemReport item;
    if (cache.get(keys.of(texts[i]), std::as_writable_bytes(std::span(&item, 1)),
                  call.out.subspan(i * size, size))) {
      if (!call.items.empty()) call.items[i] = item;
      // The first hit: what came before it is missing.
      for (std::uint32_t before = 0; looked.hits == 0 && before < i; ++before) {
        looked.missing.push_back(before);
      }
      ++looked.hits;
    } else if (looked.hits > 0) {
      looked.missing.push_back(i);
    }
  }
  return looked;
}

Remainder::Remainder(const ListCall& call, Lookup looked)
    : looked_(std::move(looked)), call_(call) {
  if (looked_.missing.empty()) return;
  const auto rows = call.texts.last(call.rows());
  texts_.assign(call.texts.begin(), call.texts.end() - static_cast<std::ptrdiff_t>(rows.size()));
  for (const std::uint32_t row : looked_.missing) texts_.push_back(rows[row]);
  call_.texts = texts_;
  call_.places = looked_.missing;
}

}  // namespace nacelle::shm
