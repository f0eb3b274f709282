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
  //
  // When memory runs out, halves of the batch are run, and halves of these, down to the text that
  // does not fit alone: its request has a reason in `failed` then, and the others are answered as
  // if it had not been there.
  base::Status run(Batch& batch);

 private:
  // Windows with tokens [first, last) of a batch, counted in its order, and their tokens.
  struct Part {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
  };
  base::Status run_part(Batch& batch, Part part);
  base::Status try_part(Batch& batch, Part part);
  void gather(const Batch& batch, Part part, std::uint32_t width);
  void finish(const Batch& batch, Part part, std::uint32_t width);
  void count(const Batch& batch);

  Services& services_;
  Counters& counters_;
  // The packed batch; kept between batches so that packing does not allocate.
  std::vector<std::uint32_t> ids_;
  std::vector<std::uint32_t> types_;
  std::vector<std::uint32_t> offsets_;
  std::vector<float*> rows_;    // where the model writes
  std::vector<float> scratch_;  // of rows that do not stay as the model writes them
  std::uint32_t texts_ = 0;     // windows that the batch at hand has computed,
  std::uint32_t tokens_ = 0;    // and their tokens
};

}  // namespace nacelle::sidecar
