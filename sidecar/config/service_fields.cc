// The keys of a service.
#include <utility>

#include "sidecar/config/fields.h"

namespace nacelle::config {
namespace {

template <typename Enum>
Choice choice(Enum& value, std::span<const std::string_view> words) {
  return {.set = [&value](std::size_t index) { value = static_cast<Enum>(index); },
          .get = [&value] { return static_cast<std::size_t>(value); },
          .words = words};
}

}  // namespace

std::vector<Field> service_fields(Service& s) {
  using U32 = Whole<std::uint32_t>;
  constexpr std::uint32_t kUnlimited = sidecar::ServicePolicy::kUnlimited;
  constexpr std::uint32_t kHourMs = 3'600'000;
  return {
      {"long_input", "", choice(s.long_input, sidecar::kLongInputNames),
       "What happens to a text of more tokens than the model takes when the call does not say: "
       "chunk_mean computes it in parts and answers their mean."},
      {"precision", "", choice(s.precision, sidecar::kServicePrecisionNames),
       "kernels.precision for this service alone. For int8 make an int8 model with nacellectl "
       "quantize."},
      {"max_concurrent", "requests", U32{&s.policy.max_concurrent, 1, 65'536, kUnlimited},
       "Requests of this service that may be computed at the same time. \"auto\" sets no limit."},
      {"max_queue_size", "requests", U32{&s.policy.max_queue_size, 0, 65'536, kUnlimited},
       "Requests of this service that may wait. More are answered \"busy\". \"auto\" sets no limit "
       "but scheduler.queue_requests_max, which holds for all services together."},
      {"priority", "", choice(s.policy.priority, sidecar::kPriorityNames),
       "Which requests run first when several wait. Requests of low and idle services are refused "
       "while memory or CPU is short (admission.memory_percent_max, admission.cpu_percent_max)."},
      {"weight", "", U32{&s.policy.weight, 1, 1000},
       "The share of the device beside other services of the same priority, by their weights."},
      {"deadline_ms", "ms", U32{&s.policy.deadline_ms, 1, kHourMs, 0},
       "The time after which a request that names no deadline is given up. At \"auto\" it is "
       "scheduler.deadline_default_ms."},
      {"latency_target_ms", "ms", U32{&s.policy.latency_target_ms, 1, kHourMs, 0},
       "How long an answer should take at most. Batches are kept so small that a request that "
       "finds the device busy can be answered in that time. \"auto\" sets no target."},
      {"cache", "", choice(s.policy.cache, sidecar::kServiceCacheNames),
       "What calls that do not say do with the result cache (cache.memory_bytes). use: answers "
       "that "
       "are there are taken, others are put there. refresh: all are computed, and put. off and "
       "read_only hold for calls that say otherwise, too: nothing is taken, nothing is put."},
      {"cache_ttl_s", "s", U32{&s.policy.cache_ttl_s, 1, kYearS, 0},
       "How long an answer of this service is kept at most. At \"auto\" it is cache.ttl_s."},
  };
}

}  // namespace nacelle::config
