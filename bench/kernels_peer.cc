// The peer over OpenBLAS.
//
// Fair to it: sgemv for a single row; its own threads for the large products, ours for the loops
// and for the small products of attention, one head a task; and this file is compiled with -O3,
// -ffast-math and the machine's own instructions, so that the loops are vectorized too.
#include "bench/kernels_peer.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "sidecar/base/check.h"

namespace nacelle::bench {
namespace {

using kernels::Activation;

void normalize(float* row, const float* gamma, const float* beta, float epsilon,
               std::size_t width) {
  float sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += row[i];
  const float mean = sum / static_cast<float>(width);
  float squares = 0;
  for (std::size_t i = 0; i < width; ++i) squares += (row[i] - mean) * (row[i] - mean);
  const float scale = 1.0F / std::sqrt(squares / static_cast<float>(width) + epsilon);
  for (std::size_t i = 0; i < width; ++i) row[i] = (row[i] - mean) * scale * gamma[i] + beta[i];
}

class OpenBlas final : public Peer {
 public:
  explicit OpenBlas(std::unique_ptr<kernels::cpu::ThreadPool> pool)
      : pool_(std::move(pool)), scores_(pool_->threads()) {}

  [[nodiscard]] std::string name() const override {
    return std::string("OpenBLAS ") + openblas_get_corename();
  }

  void linear(const kernels::Linear& op, const float* weights, const float* bias) override {
    const auto inputs = static_cast<int>(op.weights->inputs);
    const auto outputs = static_cast<int>(op.weights->outputs);
    const auto* in = static_cast<const float*>(op.in.data);
    auto* all = static_cast<float*>(op.out.data);
    set_blas_threads(pool_->threads());
    if (op.rows == 1) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, outputs, inputs, 1.0F, weights, inputs, in, 1, 0.0F,
                  all, 1);
    } else {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(op.rows), outputs,
                  inputs, 1.0F, in, inputs, weights, inputs, 0.0F, all, outputs);
    }
    rows(op.rows, op.weights->outputs, [&](std::size_t r) {
      const std::size_t width = op.weights->outputs;
      float* out = all + r * width;
      for (std::size_t i = 0; i < width; ++i) out[i] += bias[i];
      if (op.activation == Activation::kGelu) {
        for (std::size_t i = 0; i < width; ++i) {
          out[i] = out[i] * 0.5F * (1.0F + std::erf(out[i] * 0.70710678F));
        }
      }
      if (op.activation == Activation::kTanh) {
        for (std::size_t i = 0; i < width; ++i) out[i] = std::tanh(out[i]);
      }
      if (op.residual != nullptr) {
        for (std::size_t i = 0; i < width; ++i) out[i] += op.residual[r * width + i];
      }
    });
  }

  void attention(const kernels::Attention& op) override {
    set_blas_threads(1);
    pool_->run(op.sequences * op.heads, [&](std::uint32_t task, unsigned thread) {
      const std::size_t begin = op.offsets[task / op.heads];
      const std::size_t length = op.offsets[task / op.heads + 1] - begin;
      const std::size_t head_width = op.head_width;
      const std::size_t width = op.heads * head_width;
      const float* q = static_cast<const float*>(op.qkv.data) + begin * 3 * width +
                       (task % op.heads) * head_width;
      const auto stride = static_cast<int>(3 * width);
      const auto n = static_cast<int>(length);
      const auto d = static_cast<int>(head_width);
      std::vector<float>& scores = scores_[thread];
      scores.resize(std::max(scores.size(), length * length));
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, d,
                  1.0F / std::sqrt(static_cast<float>(head_width)), q, stride, q + width, stride,
                  0.0F, scores.data(), n);
      for (std::size_t i = 0; i < length; ++i) {
        float* row = scores.data() + i * length;
        float largest = row[0];
        for (std::size_t j = 1; j < length; ++j) largest = std::max(largest, row[j]);
        float sum = 0;
        for (std::size_t j = 0; j < length; ++j) {
          row[j] = std::exp(row[j] - largest);
          sum += row[j];
        }
        for (std::size_t j = 0; j < length; ++j) row[j] /= sum;
      }
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, d, n, 1.0F, scores.data(), n,
                  q + 2 * width, stride, 0.0F,
                  static_cast<float*>(op.out.data) + begin * width + (task % op.heads) * head_width,
                  static_cast<int>(width));
    });
  }

  void embed(const kernels::EmbedNorm& op) override {
    std::vector<std::size_t> position(op.offsets[op.sequences]);
    for (std::size_t s = 0; s < op.sequences; ++s) {
      for (std::size_t t = op.offsets[s]; t < op.offsets[s + 1]; ++t) {
        position[t] = t - op.offsets[s];
      }
    }
    const auto* words = static_cast<const float*>(op.words.data);
    const auto* positions = static_cast<const float*>(op.positions.data);
    const auto* types = static_cast<const float*>(op.types_table.data);
    rows(position.size(), op.width, [&](std::size_t t) {
      float* out = op.out + t * op.width;
      for (std::size_t i = 0; i < op.width; ++i) {
        out[i] = words[op.ids[t] * std::size_t{op.width} + i] +
                 positions[position[t] * op.width + i] + types[i];
      }
      normalize(out, op.gamma, op.beta, op.epsilon, op.width);
    });
  }

  void layer_norm(const kernels::LayerNorm& op) override {
    rows(op.rows, op.width, [&](std::size_t r) {
      std::copy_n(op.in + r * op.width, op.width, op.out + r * op.width);
      normalize(op.out + r * op.width, op.gamma, op.beta, op.epsilon, op.width);
    });
  }

  void pool(const kernels::Pool& op) override {
    const std::size_t tokens = op.offsets[op.sequences] / op.sequences;
    rows(op.sequences, tokens * op.width, [&](std::size_t s) {
      float* out = op.out + s * op.width;
      std::fill_n(out, op.width, 0.0F);
      for (std::size_t t = op.offsets[s]; t < op.offsets[s + 1]; ++t) {
        for (std::size_t i = 0; i < op.width; ++i) out[i] += op.hidden[t * op.width + i];
      }
      const auto count = static_cast<float>(op.offsets[s + 1] - op.offsets[s]);
      float squares = 0;
      for (std::size_t i = 0; i < op.width; ++i) {
        out[i] /= count;
        squares += out[i] * out[i];
      }
      const float scale = 1.0F / std::max(std::sqrt(squares), kernels::kNormMin);
      for (std::size_t i = 0; i < op.width; ++i) out[i] *= scale;
    });
  }

 private:
  // Setting the same number again costs it a lock.
  static void set_blas_threads(unsigned threads) {
    static unsigned current = 0;
    if (current != threads) openblas_set_num_threads(static_cast<int>(threads));
    current = threads;
  }

  // function(row) for all rows, in a few pieces; alone when they hold little.
  template <typename Function>
  void rows(std::size_t count, std::size_t width, Function&& function) {
    const std::size_t parts = count * width <= std::size_t{32} * 1024
                                  ? 1
                                  : std::min<std::size_t>(count, std::size_t{4} * pool_->threads());
    pool_->run(static_cast<std::uint32_t>(parts), [&](std::uint32_t part, unsigned) {
      for (std::size_t r = count * part / parts; r < count * (part + 1) / parts; ++r) function(r);
    });
  }

  std::unique_ptr<kernels::cpu::ThreadPool> pool_;
  std::vector<std::vector<float>> scores_;
};

}  // namespace

std::unique_ptr<Peer> make_peer(unsigned threads) {
  auto pool = kernels::cpu::ThreadPool::create(threads);
  CHECK(pool.has_value());
  return std::make_unique<OpenBlas>(*std::move(pool));
}

}  // namespace nacelle::bench
