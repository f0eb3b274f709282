// The last requests and batches with the times at which they passed each stage, for nacellectl
// trace. Numbers only: no text, no result. About 1 MiB, whatever happens.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sidecar/flow.h"
#include "sidecar/seq_ring.h"

namespace nacelle::sidecar {

struct RequestTrace {
  std::uint64_t number = 0;
  std::uint64_t client = 0;  // its connection's id
  std::uint32_t service = 0;
  std::uint32_t slot = 0;
  std::uint32_t texts = 0;
  std::uint32_t tokens = 0;
  base::Nanos ring = 0;
  base::Nanos taken = 0;
  base::Nanos tokenized = 0;
  base::Nanos first_begin = 0;  // of its first batch; 0 when it was in none
  base::Nanos last_end = 0;     // of its last batch
  base::Nanos replied = 0;
  std::uint64_t first_batch = 0;
  std::uint64_t last_batch = 0;
  std::array<base::Nanos, kStages> spent{};
  base::Code code = base::Code::kOk;
  std::uint16_t reserved[3] = {};
};

struct BatchTrace {
  std::uint64_t number = 0;
  std::uint32_t service = 0;
  std::uint32_t texts = 0;
  std::uint32_t tokens = 0;
  std::uint32_t clients = 0;
  base::Nanos begin = 0;
  base::Nanos gathered = 0;
  base::Nanos computed = 0;
  base::Nanos end = 0;
};

class Trace {
 public:
  static constexpr std::size_t kRequests = 4096;
  static constexpr std::size_t kBatches = 4096;

  // Any thread. The batch's number.
  std::uint64_t add(const Batch& batch);
  void add(const Request& request, base::Code code, base::Nanos replied);

  // The last `last` requests that are whole, oldest first, and the batches that they were in, as
  // far as they are still there.
  struct Copy {
    std::vector<RequestTrace> requests;
    std::vector<BatchTrace> batches;
  };
  [[nodiscard]] Copy copy(std::size_t last) const;

 private:
  SeqRing<RequestTrace, kRequests> requests_;
  SeqRing<BatchTrace, kBatches> batches_;
};

}  // namespace nacelle::sidecar
