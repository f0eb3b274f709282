// Sentence vectors: token vectors pooled, then the steps that the model's files list.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/model/encoder.h"
#include "sidecar/model/sentence_config.h"
#include "sidecar/model/weights.h"

namespace nacelle::model {

class Sentence {
 public:
  // Reads the steps' weights from their folders inside `directory`. `backend` outlives it.
  static base::Result<Sentence> create(const std::string& directory, SentenceConfig config,
                                       kernels::Backend& backend);

  // [sequences, width()]; valid until the next call. `raw` leaves out the scaling at the end, where
  // there is one.
  const float* embed(const Encoder::Wave& wave, std::uint32_t hidden_width, bool raw);

  // Whether the last step scales to length 1.
  [[nodiscard]] bool normalizes() const;

  [[nodiscard]] std::uint32_t width() const { return config_.width; }
  [[nodiscard]] std::uint64_t parameters() const { return parameters_; }
  [[nodiscard]] std::uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  Sentence() = default;

  // What a step of config_.steps computes with; the member of its kind is set.
  struct StepWeights {
    std::unique_ptr<kernels::PackedLinear> dense;
    Norm norm;
  };

  SentenceConfig config_;
  std::vector<StepWeights> weights_;  // as many as steps
  kernels::Backend* backend_ = nullptr;
  // [kWaveSequences, the widest vector between two steps]. A Dense goes from one to the other.
  kernels::Buffer rows_;
  kernels::Buffer other_;
  std::uint64_t parameters_ = 0;
  std::uint64_t memory_bytes_ = 0;
};

}  // namespace nacelle::model
