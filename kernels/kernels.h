// Arithmetic on one device. A backend is a device with one function per op; it knows no request,
// no file and no model.
//
//   tensor.h, activations.h                        what numbers look like, at rest and on their way
//   embed.h linear.h rotary.h attention.h gate.h norm.h pool.h normalize.h quantize.h
//                                                  the ops: one struct each, with shapes
//   packed_linear.h                                a layer's weights in a backend's own layout
//   reference/                                     what the ops mean, in plain loops
//   cpu/                                           the same, fast, on any x86-64
//   backends.cc                                    the list of backends
//
// Every backend gives the same bytes for a row or a sequence whatever else is in the call: tiles
// and the order of additions never depend on how many rows there are (tests/kernels checks it).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kernels/attention.h"
#include "kernels/buffer.h"
#include "kernels/embed.h"
#include "kernels/gate.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/normalize.h"
#include "kernels/packed_linear.h"
#include "kernels/pool.h"
#include "kernels/quantize.h"
#include "kernels/rotary.h"
#include "kernels/tensor.h"
#include "sidecar/base/result.h"

namespace nacelle::kernels {

// One device. Calls come from one thread at a time; a call returns when its output is written.
// Shapes are the caller's promise: a broken one is a CHECK, not an error.
class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;    // "cpu"
  [[nodiscard]] virtual std::string description() const = 0;  // "cpu (avx512, 2 threads)"
  // All of it that can change a result's bits, which its threads do not: "cpu/avx512".
  [[nodiscard]] virtual std::string arithmetic() const { return std::string(name()); }

  // Memory for `size` bytes, contents undefined; kUnavailable when there is none.
  virtual base::Result<Buffer> allocate(std::size_t size) = 0;
  // The weights in this backend's layout; kUnavailable when there is no memory for them.
  virtual base::Result<std::unique_ptr<PackedLinear>> pack(const LinearWeights& weights) = 0;
  // The name of that layout, e.g. for the name of a file: PackedLinear::bytes may be viewed
  // wherever it is the same.
  [[nodiscard]] virtual std::string_view layout(LinearFormat format) const = 0;
  // A layer that pack() made once, in memory that stays the caller's and must outlive the result:
  // aligned to 64 bytes, nothing is copied. kInvalid when it is not this layer in this layout. The
  // numbers inside are not looked at.
  virtual base::Result<std::unique_ptr<PackedLinear>> view(LinearFormat format,
                                                           std::uint32_t inputs,
                                                           std::uint32_t outputs,
                                                           std::span<const std::byte> bytes) = 0;

  virtual void embed(const EmbedNorm& op) = 0;
  virtual void linear(const Linear& op) = 0;
  virtual void rotary(const Rotary& op) = 0;
  virtual void attention(const Attention& op) = 0;
  virtual void gate(const Gate& op) = 0;
  virtual void layer_norm(const LayerNorm& op) = 0;
  virtual void pool(const Pool& op) = 0;
  virtual void normalize(const Normalize& op) = 0;
  virtual void quantize(const Quantize& op) = 0;
};

struct BackendOptions {
  unsigned threads = 1;     // threads that compute, the caller's included; at least 1
  std::string target = "";  // force one target of the backend ("avx2"); "" picks the best
};

// One line of the list in backends.cc.
struct BackendEntry {
  std::string_view name;
  // Why this machine cannot run the backend is an error of code kUnavailable.
  base::Result<std::unique_ptr<Backend>> (*create)(const BackendOptions& options);
  // The targets that this machine can run, best first; empty when the backend has none.
  std::span<const std::string_view> (*targets)();
};

// All backends, best first.
std::span<const BackendEntry> all_backends();

// The backend of that name, or the first that works when the name is "auto". Names may carry a
// target: "cpu/avx2".
base::Result<std::unique_ptr<Backend>> create_backend(std::string_view name, unsigned threads);

}  // namespace nacelle::kernels
