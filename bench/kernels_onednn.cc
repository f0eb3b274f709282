// See kernels_onednn.h. One matmul primitive a layer, its weights reordered once into the layout
// that oneDNN chooses; scales, bias, GELU and residual are post-ops of it. A scale for each row is
// none of its fast post-ops in 2.6 (it falls back to plain loops), so it gets one scale for all
// rows: less work than ours.
#include "bench/kernels_onednn.h"

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "sidecar/base/check.h"

namespace nacelle::bench {
namespace {

using dnnl::memory;
using kernels::LinearFormat;

class MatMul final : public OneDnn {
 public:
  MatMul(const OneDnnLayer& layer, unsigned threads) : threads_(static_cast<int>(threads)) {
    omp_set_num_threads(threads_);
    const bool int8 = layer.format == LinearFormat::kInt8;
    const memory::dim m = layer.rows;
    const memory::dim n = layer.outputs;
    const memory::dim k = layer.inputs;
    const auto narrow = int8 ? memory::data_type::s8 : memory::data_type::bf16;
    constexpr auto kFloat = memory::data_type::f32;
    constexpr auto kRows = memory::format_tag::ab;
    const memory::desc in({m, k}, narrow, kRows);
    const memory::desc weights({k, n}, narrow, memory::format_tag::any);
    const memory::desc out({m, n}, kFloat, kRows);
    const memory::desc a_row({1, n}, kFloat, kRows);

    dnnl::primitive_attr attributes;
    dnnl::post_ops after;
    if (int8) {
      std::vector<float> scales(layer.scales, layer.scales + n);
      for (float& scale : scales) scale *= layer.row_scale;
      attributes.set_output_scales(2, scales);
    }
    after.append_binary(dnnl::algorithm::binary_add, a_row);
    bias_.assign(layer.bias, layer.bias + n);
    arguments_.insert({DNNL_ARG_ATTR_MULTIPLE_POST_OP(after.len() - 1) | DNNL_ARG_SRC_1,
                       memory(a_row, engine_, bias_.data())});
    if (layer.activation == kernels::Activation::kGelu) {
      after.append_eltwise(1.0F, dnnl::algorithm::eltwise_gelu_erf, 0.0F, 0.0F);
    }
    if (layer.residual) {
      after.append_binary(dnnl::algorithm::binary_add, out);
      residual_ = {DNNL_ARG_ATTR_MULTIPLE_POST_OP(after.len() - 1) | DNNL_ARG_SRC_1,
                   memory(out, engine_, nullptr)};
    }
    attributes.set_post_ops(after);

    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(in, weights, out), attributes,
                                                   engine_);
    implementation_ = description.impl_info_str();
    matmul_ = dnnl::matmul(description);

    // Ours is [outputs, inputs]: its transpose is the same memory read the other way.
    memory from({{k, n}, kFloat, memory::format_tag::ba}, engine_,
                const_cast<float*>(layer.weights));  // only read
    memory packed(description.weights_desc(), engine_);
    dnnl::reorder(from, packed).execute(stream_, from, packed);
    stream_.wait();
    in_ = memory(in, engine_, nullptr);
    out_ = memory(out, engine_, nullptr);
    arguments_.insert({DNNL_ARG_SRC, in_});
    arguments_.insert({DNNL_ARG_WEIGHTS, packed});
    arguments_.insert({DNNL_ARG_DST, out_});
    if (layer.residual) arguments_.insert(residual_);
  }

  [[nodiscard]] std::string name() const override { return "oneDNN " + implementation_; }

  void linear(const kernels::Linear& op) override {
    omp_set_num_threads(threads_);
    in_.set_data_handle(const_cast<void*>(op.in.data));  // only read
    out_.set_data_handle(op.out.data);
    if (residual_.first != 0) residual_.second.set_data_handle(const_cast<float*>(op.residual));
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  using Argument = std::pair<int, memory>;

  const int threads_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::vector<float> bias_;
  Argument residual_;
  memory in_;
  memory out_;
  std::unordered_map<int, memory> arguments_;
  dnnl::matmul matmul_;
  std::string implementation_;
};

}  // namespace

std::unique_ptr<OneDnn> make_onednn(const OneDnnLayer& layer, unsigned threads) {
  try {
    return std::make_unique<MatMul>(layer, threads);
  } catch (const dnnl::error& error) {
    CHECK(error.status == dnnl_unimplemented);  // anything else is our mistake
    return nullptr;
  }
}

}  // namespace nacelle::bench
