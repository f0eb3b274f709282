// The ops as somebody writes them who has a good BLAS and no time: sgemm and plain loops around it.
#pragma once

#include <memory>
#include <string>

#include "kernels/kernels.h"

namespace nacelle::bench {

class Peer {
 public:
  virtual ~Peer() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  // The same structs as ours; `weights` is [outputs, inputs], since op.weights is in our layout.
  virtual void linear(const kernels::Linear& op, const float* weights, const float* bias) = 0;
  virtual void attention(const kernels::Attention& op) = 0;
  virtual void embed(const kernels::EmbedNorm& op) = 0;  // F32 tables
  virtual void layer_norm(const kernels::LayerNorm& op) = 0;
  virtual void pool(const kernels::Pool& op) = 0;
};

// A peer on so many threads, or nullptr when this program was built without OpenBLAS.
std::unique_ptr<Peer> make_peer(unsigned threads);

}  // namespace nacelle::bench
