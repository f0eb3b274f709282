// The reference as a backend: always there, on one thread.
#include "kernels/contracts.h"
#include "kernels/memory.h"
#include "kernels/reference/reference.h"
#include "sidecar/base/check.h"

namespace nacelle::kernels::reference {
namespace {

class ReferenceBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const override { return "reference"; }
  [[nodiscard]] std::string description() const override { return "reference (plain loops)"; }

  base::Result<Buffer> allocate(std::size_t size) override { return allocate_host(size); }

  base::Result<std::unique_ptr<PackedLinear>> pack(const LinearWeights& weights) override {
    check_contract(weights);
    return reference::pack(weights);
  }
  [[nodiscard]] std::string_view layout(LinearFormat format) const override {
    return packed_shape(format, 1, 1).layout;
  }
  base::Result<std::unique_ptr<PackedLinear>> view(LinearFormat format, std::uint32_t inputs,
                                                   std::uint32_t outputs,
                                                   std::span<const std::byte> bytes) override {
    return view_packed(packed_shape(format, inputs, outputs), inputs, outputs, bytes);
  }

  void embed(const EmbedNorm& op) override {
    check_contract(op);
    reference::embed(op);
  }
  void linear(const Linear& op) override {
    check_contract(op);
    CHECK(op.weights->layout == layout(op.weights->format));  // packed by another backend
    reference::linear(op);
  }
  void rotary(const Rotary& op) override {
    check_contract(op);
    reference::rotary(op);
  }
  void attention(const Attention& op) override {
    check_contract(op);
    reference::attention(op);
  }
  void gate(const Gate& op) override {
    check_contract(op);
    reference::gate(op);
  }
  void layer_norm(const LayerNorm& op) override {
    check_contract(op);
    reference::layer_norm(op);
  }
  void pool(const Pool& op) override {
    check_contract(op);
    reference::pool(op);
  }
  void normalize(const Normalize& op) override {
    check_contract(op);
    reference::normalize(op);
  }
  void quantize(const Quantize& op) override {
    check_contract(op);
    reference::quantize(op);
  }
};

}  // namespace

base::Result<std::unique_ptr<Backend>> create(const BackendOptions& options) {
  if (!options.target.empty()) {
    return base::Error{base::Code::kNotFound, "the reference backend has no targets, so no \"" +
                                                  options.target + "\": ask for \"reference\""};
  }
  return std::unique_ptr<Backend>(std::make_unique<ReferenceBackend>());
}

}  // namespace nacelle::kernels::reference
