// What is recorded of each batch and each request: one call where a batch ends, one where a reply
// goes out. Neither locks nor allocates.
#pragma once

#include "sidecar/base/result.h"
#include "sidecar/flow.h"

namespace nacelle::sidecar {

constexpr bool about_texts(shm::Op op) {
  return op == shm::Op::kEmbed || op == shm::Op::kClassify || op == shm::Op::kRerank;
}

// `batch` ran, well or not, at batch.times. Its requests' times move on, the device's time is
// charged to their clients, by tokens.
void observe_batch(Batch& batch, Counters& counters, ServiceCounters& service);

// The reply to `request` was ready to be published at `replied`. That it would end so was known at
// `ended`.
void observe_reply(Request& request, const base::Status& status, base::Nanos ended,
                   base::Nanos replied, Counters& counters, ServiceCounters& service);

}  // namespace nacelle::sidecar
