// Runs batches on the device: gathers the tokens, calls the model, has its numbers made into rows.
// One batch at a time, from one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/flow.h"
#include "sidecar/services.h"

namespace nacelle::sidecar {

class Executor {
 public:
  Executor(Services& services, Counters& counters) : services_(services), counters_(counters) {}

  // Computes the batch; the rows of texts that it ends are then in their requests' replies. On an
  // error no row of the batch counts, and every request in it gets the error.
  base::Status run(Batch& batch);

 private:
  void gather(const Batch& batch, std::uint32_t width);
  void finish(const Batch& batch, std::uint32_t width);

  Services& services_;
  Counters& counters_;
  // The packed batch; kept between batches so that packing does not allocate.
  std::vector<std::uint32_t> ids_;
  std::vector<std::uint32_t> types_;
  std::vector<std::uint32_t> offsets_;
  std::vector<float*> rows_;    // where the model writes
  std::vector<float> scratch_;  // of rows that do not stay as the model writes them
};

}  // namespace nacelle::sidecar
