// bench_kernels: the time of every op at the shapes of real encoders, beside a plain version over
// OpenBLAS and the machine's own bound.
//
// Each case is verified before it is timed: against the reference (on its first rows or sequences,
// the reference is slow), and the peer's whole output against ours.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "bench/harness.h"
#include "bench/kernels_bounds.h"
#include "bench/kernels_peer.h"
#include "kernels/kernels.h"
#include "sidecar/base/check.h"

namespace nacelle::bench {
namespace {

using kernels::Activation;
using kernels::Backend;

constexpr double kErrorMax = 1e-5;  // ||a - b|| / ||b||; tests/kernels holds the sharp bounds

// Evenly distributed with that standard deviation. Tables are large and this is not what we time,
// so the generator is a plain linear congruence (Knuth's MMIX constants).
std::vector<float> random_floats(std::size_t count, float deviation) {
  static std::uint64_t state = 1;
  const float scale = deviation * 1.7320508F / 0x1p23F;
  std::vector<float> out(count);
  for (float& x : out) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    x = (static_cast<float>(state >> 40) - 0x1p23F) * scale;
  }
  return out;
}

double error_of(const std::vector<float>& a, const std::vector<float>& b, std::size_t count) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < count; ++i) {
    difference += std::pow(double{a[i]} - double{b[i]}, 2);
    norm += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

// One team size: who computes, who is compared, and what is possible.
class Bench {
 public:
  Bench(unsigned threads, bool quick, Report& report)
      : threads_(threads), quick_(quick), report_(report), peer_(make_peer(threads)) {
    auto backend = kernels::create_backend("auto", threads);
    auto reference = kernels::create_backend("reference", 1);
    auto pool = kernels::cpu::ThreadPool::create(threads);
    CHECK(backend && reference && pool);
    backend_ = *std::move(backend);
    reference_ = *std::move(reference);
    pool_ = *std::move(pool);
    peak_ = peak_flops(*pool_);
    std::printf("\n%s; peer: %s; FMA peak %.0f GFLOP/s\n", backend_->description().c_str(),
                peer_ ? peer_->name().c_str() : "-", peak_);
  }

  void linear(std::uint32_t rows, std::uint32_t inputs, std::uint32_t outputs,
              Activation activation, bool with_residual) {
    const std::string epilogue = std::string(activation == Activation::kGelu ? " gelu" : "") +
                                 (with_residual ? " residual" : "");
    const std::string name = "linear " + std::to_string(rows) + " x " + std::to_string(inputs) +
                             " -> " + std::to_string(outputs) + epilogue;
    if (!report_.wants(full_name(name))) return;
    const auto in = random_floats(std::size_t{rows} * inputs, 1.0F);
    const auto weights =
        random_floats(std::size_t{outputs} * inputs, 1.0F / std::sqrt(static_cast<float>(inputs)));
    const auto bias = random_floats(outputs, 0.1F);
    const auto residual = random_floats(std::size_t{rows} * outputs, 1.0F);
    const kernels::LinearWeights layer{
        .weights = {.data = weights.data(), .rows = outputs, .columns = inputs},
        .bias = bias.data()};
    auto packed = backend_->pack(layer);
    auto reference = reference_->pack(layer);
    CHECK(packed && reference);
    const kernels::Linear op{.in = in.data(),
                             .weights = packed->get(),
                             .out = nullptr,
                             .rows = rows,
                             .activation = activation,
                             .residual = with_residual ? residual.data() : nullptr};
    const double flops = 2.0 * rows * inputs * outputs;
    const double stream = stream_ns(*pool_, (std::size_t{rows} + outputs) * inputs * 4);
    compare(
        name, op, std::size_t{rows} * outputs, flops / peak_, stream,
        [&](kernels::Linear o) {
          o.rows = std::min(rows, 4U);
          o.weights = reference->get();
          reference_->linear(o);
          return std::size_t{o.rows} * outputs;
        },
        [&](const kernels::Linear& o) { backend_->linear(o); },
        [&](const kernels::Linear& o) { peer_->linear(o, weights.data(), bias.data()); });
  }

  void attention(std::uint32_t sequences, std::uint32_t length, std::uint32_t heads,
                 std::uint32_t head_width) {
    const std::string name = "attention " + std::to_string(sequences) + " x " +
                             std::to_string(length) + ", " + std::to_string(heads) + " heads of " +
                             std::to_string(head_width);
    if (!report_.wants(full_name(name))) return;
    const std::size_t width = std::size_t{heads} * head_width;
    const std::size_t tokens = std::size_t{sequences} * length;
    const auto qkv = random_floats(tokens * 3 * width, 1.0F);
    const auto offsets = even_offsets(sequences, length);
    const kernels::Attention op{.qkv = qkv.data(),
                                .offsets = offsets.data(),
                                .out = nullptr,
                                .sequences = sequences,
                                .heads = heads,
                                .head_width = head_width};
    compare(
        name, op, tokens * width,
        4.0 * static_cast<double>(tokens) * length * static_cast<double>(width) / peak_,
        stream_ns(*pool_, tokens * 4 * width * 4),
        [&](kernels::Attention o) {
          o.sequences = 1;
          reference_->attention(o);
          return length * width;
        },
        [&](const kernels::Attention& o) { backend_->attention(o); },
        [&](const kernels::Attention& o) { peer_->attention(o); });
  }

  void layer_norm(std::uint32_t rows, std::uint32_t width) {
    const std::string name = "layer_norm " + std::to_string(rows) + " x " + std::to_string(width);
    if (!report_.wants(full_name(name))) return;
    const auto in = random_floats(std::size_t{rows} * width, 1.0F);
    const auto gamma = random_floats(width, 1.0F);
    const auto beta = random_floats(width, 1.0F);
    const kernels::LayerNorm op{.in = in.data(),
                                .gamma = gamma.data(),
                                .beta = beta.data(),
                                .out = nullptr,
                                .rows = rows,
                                .width = width,
                                .epsilon = 1e-12F};
    compare(
        name, op, in.size(), 0, stream_ns(*pool_, in.size() * 2 * 4),
        [&](const kernels::LayerNorm& o) {
          reference_->layer_norm(o);
          return in.size();
        },
        [&](const kernels::LayerNorm& o) { backend_->layer_norm(o); },
        [&](const kernels::LayerNorm& o) { peer_->layer_norm(o); });
  }

  void embed(std::uint32_t sequences, std::uint32_t length, std::uint32_t width) {
    const std::string name = "embed " + std::to_string(sequences) + " x " + std::to_string(length) +
                             ", width " + std::to_string(width);
    if (!report_.wants(full_name(name))) return;
    constexpr std::uint32_t kWords = 30522;
    const auto words = random_floats(std::size_t{kWords} * width, 1.0F);
    const auto positions = random_floats(std::size_t{512} * width, 1.0F);
    const auto types = random_floats(std::size_t{2} * width, 1.0F);
    const auto gamma = random_floats(width, 1.0F);
    const auto beta = random_floats(width, 1.0F);
    const auto offsets = even_offsets(sequences, length);
    const std::size_t tokens = std::size_t{sequences} * length;
    std::mt19937 random(2);
    std::vector<std::uint32_t> ids(tokens);
    for (auto& id : ids) id = std::uniform_int_distribution<std::uint32_t>(0, kWords - 1)(random);
    const kernels::EmbedNorm op{
        .ids = ids.data(),
        .types = nullptr,
        .offsets = offsets.data(),
        .words = {.data = words.data(), .rows = kWords, .columns = width},
        .positions = {.data = positions.data(), .rows = 512, .columns = width},
        .types_table = {.data = types.data(), .rows = 2, .columns = width},
        .gamma = gamma.data(),
        .beta = beta.data(),
        .out = nullptr,
        .sequences = sequences,
        .width = width,
        .epsilon = 1e-12F};
    compare(
        name, op, tokens * width, 0, stream_ns(*pool_, tokens * width * 3 * 4),
        [&](const kernels::EmbedNorm& o) {
          reference_->embed(o);
          return tokens * width;
        },
        [&](const kernels::EmbedNorm& o) { backend_->embed(o); },
        [&](const kernels::EmbedNorm& o) { peer_->embed(o); });
  }

  void pool(std::uint32_t sequences, std::uint32_t length, std::uint32_t width) {
    const std::string name = "pool " + std::to_string(sequences) + " x " + std::to_string(length) +
                             ", width " + std::to_string(width);
    if (!report_.wants(full_name(name))) return;
    const auto hidden = random_floats(std::size_t{sequences} * length * width, 1.0F);
    const auto offsets = even_offsets(sequences, length);
    const kernels::Pool op{.hidden = hidden.data(),
                           .offsets = offsets.data(),
                           .out = nullptr,
                           .sequences = sequences,
                           .width = width,
                           .pooling = kernels::Pooling::kMean,
                           .normalize = true};
    compare(
        name, op, std::size_t{sequences} * width, 0, stream_ns(*pool_, hidden.size() * 4),
        [&](const kernels::Pool& o) {
          reference_->pool(o);
          return std::size_t{sequences} * width;
        },
        [&](const kernels::Pool& o) { backend_->pool(o); },
        [&](const kernels::Pool& o) { peer_->pool(o); });
  }

 private:
  static std::vector<std::uint32_t> even_offsets(std::uint32_t sequences, std::uint32_t length) {
    std::vector<std::uint32_t> offsets(sequences + 1);
    for (std::uint32_t s = 0; s <= sequences; ++s) offsets[s] = s * length;
    return offsets;
  }

  [[nodiscard]] std::string full_name(const std::string& name) const {
    return name + ", " + std::to_string(threads_) + "t";
  }

  // Verifies, times and reports one case. `verify` computes the first elements of the reference's
  // output and returns how many.
  template <typename Op, typename Verify, typename Ours, typename Theirs>
  void compare(const std::string& name, const Op& op, std::size_t count, double compute_ns,
               double memory_ns, Verify verify, Ours ours, Theirs theirs) {
    std::vector<float> reference_out(count);
    std::vector<float> our_out(count);
    std::vector<float> their_out(count);
    Op reference_op = op;
    reference_op.out = reference_out.data();
    Op our_op = op;
    our_op.out = our_out.data();
    Op their_op = op;
    their_op.out = their_out.data();

    const std::size_t verified = verify(reference_op);
    ours(our_op);
    CHECK(error_of(our_out, reference_out, verified) <= kErrorMax);
    std::vector<std::function<void()>> contenders = {[&] { ours(our_op); }};
    if (peer_) {
      theirs(their_op);
      CHECK(error_of(their_out, our_out, count) <= kErrorMax);
      contenders.emplace_back([&] { theirs(their_op); });
    }

    // After that long the peer's threads sleep: see main().
    const Race rules{.runs = quick_ ? 5U : 7U,
                     .block_ns = (quick_ ? 3 : 12) * base::kMillisecond,
                     .settle_ns = peer_ && threads_ > 1 ? 5 * base::kMillisecond : 0,
                     .cpu_time = threads_ == 1};
    const auto samples = race(contenders, rules);
    constexpr double kMicro = 1e-3;
    Row row{.bench = "kernels",
            .name = full_name(name),
            .unit = "us",
            .less_is_better = true,
            .ours = {.median = samples[0].median * kMicro,
                     .min = samples[0].min * kMicro,
                     .max = samples[0].max * kMicro},
            .peer = std::nullopt,
            .peer_name = peer_ ? peer_->name() : "-",
            .bound = std::max(compute_ns, memory_ns) * kMicro,
            .bound_name = compute_ns > memory_ns ? "FMA peak" : "memory stream",
            .runs = rules.runs};
    if (peer_) row.peer = samples[1].median * kMicro;
    report_.add(std::move(row));
  }

  const unsigned threads_;
  const bool quick_;
  Report& report_;
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> reference_;
  std::unique_ptr<kernels::cpu::ThreadPool> pool_;
  double peak_ = 0;  // floating-point operations per nanosecond
};

// The layers of a BERT: `width` a token, four times that inside.
void encoder_layers(Bench& bench, std::uint32_t rows, std::uint32_t width) {
  bench.linear(rows, width, 3 * width, Activation::kNone, false);  // q, k and v
  bench.linear(rows, width, width, Activation::kNone, true);       // attention's output
  bench.linear(rows, width, 4 * width, Activation::kGelu, false);  // up
  bench.linear(rows, 4 * width, width, Activation::kNone, true);   // down
}

int run(const Options& options) {
  Report report(options);
  const std::vector<std::uint32_t> all_rows = {1, 8, 16, 32, 128, 512, 2048};
  const std::vector<std::uint32_t> few_rows = {1, 32, 512};
  for (const unsigned threads : {1U, 2U}) {
    Bench bench(threads, options.quick, report);
    for (const std::uint32_t width : {128U, 384U, 768U}) {  // small, MiniLM, BERT-base
      for (const std::uint32_t rows : options.quick ? few_rows : all_rows) {
        encoder_layers(bench, rows, width);
      }
    }
    for (const std::uint32_t length : {8U, 32U, 128U, 512U}) {
      const std::uint32_t sequences = length >= 128 ? 4 : 16;
      bench.attention(sequences, length, 12, 32);  // MiniLM
      bench.attention(sequences, length, 12, 64);  // BERT-base
      if (!options.quick) bench.attention(sequences, length, 8, 80);
      if (!options.quick) bench.attention(sequences, length, 8, 128);
    }
    for (const std::uint32_t rows : {1U, 32U, 512U}) {
      for (const std::uint32_t width : {128U, 384U, 768U}) {
        if (options.quick && width == 128) continue;
        bench.layer_norm(rows, width);
        bench.embed(std::max(1U, rows / 32), std::min(rows, 32U), width);
        bench.pool(std::max(1U, rows / 32), std::min(rows, 32U), width);
      }
    }
  }

  const auto written = report.finish();
  if (!written) {
    std::fprintf(stderr, "bench_kernels: %s\n", written.error().message.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace nacelle::bench

int main(int argc, char** argv) {
  // OpenBLAS's idle threads spin for 2^28 cycles, about 0.1 s, on the cores that ours need in
  // between. 2^20 bridge the gap between two calls of its own as well. It reads this when it is
  // loaded, so begin again.
  constexpr const char* kTimeout = "OPENBLAS_THREAD_TIMEOUT";
  if (std::getenv(kTimeout) == nullptr && ::setenv(kTimeout, "20", 1) == 0) {
    ::execv("/proc/self/exe", argv);
  }
  const auto options = nacelle::bench::parse_options({argv, static_cast<std::size_t>(argc)});
  if (!options) {
    std::fprintf(stderr, "bench_kernels: %s\n", options.error().message.c_str());
    return 2;
  }
  return nacelle::bench::run(*options);
}
