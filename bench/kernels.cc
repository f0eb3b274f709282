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
#include "bench/kernels_onednn.h"
#include "bench/kernels_peer.h"
#include "kernels/element.h"
#include "kernels/kernels.h"
#include "sidecar/base/check.h"

namespace nacelle::bench {
namespace {

using kernels::Activation;
using kernels::Backend;
using kernels::LinearFormat;
using kernels::RowsIn;

constexpr double kErrorMax = 1e-5;  // ||a - b|| / ||b||; tests/kernels holds the sharp bounds
constexpr double kNarrowErrorMax = 3e-3;

constexpr float kRowScale = 1.0F / 64;

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
    peak_bf16_ = peak_bf16(*pool_);
    peak_int8_ = peak_int8(*pool_);
    std::printf("\n%s; peer: %s; peaks: FMA %.0f GFLOP/s, bf16 %.0f, int8 %.0f GOP/s\n",
                backend_->description().c_str(), peer_ ? peer_->name().c_str() : "-", peak_,
                peak_bf16_, peak_int8_);
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

  // The same layers in bf16 or int8: rows in that type, floats out.
  void narrow_linear(LinearFormat format, std::uint32_t rows, std::uint32_t inputs,
                     std::uint32_t outputs, Activation activation, bool with_residual) {
    const bool int8 = format == LinearFormat::kInt8;
    const std::string name =
        std::string(kernels::format_name(format)) + " linear " + std::to_string(rows) + " x " +
        std::to_string(inputs) + " -> " + std::to_string(outputs) +
        (activation == Activation::kGelu ? " gelu" : "") + (with_residual ? " residual" : "");
    if (!report_.wants(full_name(name))) return;
    const auto weights =
        random_floats(std::size_t{outputs} * inputs, 1.0F / std::sqrt(static_cast<float>(inputs)));
    const auto bias = random_floats(outputs, 0.1F);
    const auto residual = random_floats(std::size_t{rows} * outputs, 1.0F);
    const NarrowRows in(*backend_, random_floats(std::size_t{rows} * inputs, 1.0F), rows, inputs);

    // Quantized here, so that the peer gets the same codes.
    std::vector<std::int8_t> codes(weights.size());
    std::vector<float> scales(outputs);
    for (std::size_t n = 0; n < outputs; ++n) {
      scales[n] = kernels::quantize_row(&weights[n * inputs], inputs, &codes[n * inputs]);
    }
    const std::vector<float> their_codes(codes.begin(), codes.end());
    kernels::LinearWeights layer{
        .weights = {.data = weights.data(), .rows = outputs, .columns = inputs},
        .bias = bias.data(),
        .format = format};
    if (int8) {
      layer.weights.data = codes.data();
      layer.weights.type = kernels::ElementType::kI8;
      layer.scales = scales.data();
    }
    auto packed = backend_->pack(layer);
    auto reference = reference_->pack(layer);
    CHECK(packed && reference);
    const auto peer = make_onednn({.weights = int8 ? their_codes.data() : weights.data(),
                                   .scales = scales.data(),
                                   .row_scale = kRowScale,
                                   .bias = bias.data(),
                                   .rows = rows,
                                   .inputs = inputs,
                                   .outputs = outputs,
                                   .format = format,
                                   .activation = activation,
                                   .residual = with_residual},
                                  threads_);
    const kernels::Linear op{.in = in.rows(format),
                             .weights = packed->get(),
                             .out = nullptr,
                             .rows = rows,
                             .activation = activation,
                             .residual = with_residual ? residual.data() : nullptr};
    const double peak = int8 ? peak_int8_ : peak_bf16_;
    const double flops = 2.0 * rows * inputs * outputs;
    const std::size_t size = int8 ? 1 : 2;
    race_with(
        name, op, std::size_t{rows} * outputs,
        {.compute_ns = peak > 0 ? flops / peak : flops / peak_,
         .compute_name = peak > 0 ? int8 ? "int8 peak" : "bf16 peak" : "FMA peak",
         .memory_ns = stream_ns(*pool_, (std::size_t{rows} + outputs) * inputs * size)},
        [&](kernels::Linear o) {
          o.rows = std::min(rows, 4U);
          o.weights = reference->get();
          reference_->linear(o);
          return std::size_t{o.rows} * outputs;
        },
        [&](const kernels::Linear& o) { backend_->linear(o); }, peer ? peer->name() : "",
        [&](const kernels::Linear& o) { peer->linear(o); });
  }

  // Rows to bf16 or to codes; there is no peer.
  void quantize(std::uint32_t rows, std::uint32_t width, bool codes) {
    const std::string name = std::string("quantize ") + std::to_string(rows) + " x " +
                             std::to_string(width) + (codes ? " to int8" : " to bf16");
    if (!report_.wants(full_name(name))) return;
    const auto in = random_floats(std::size_t{rows} * width, 1.0F);
    std::vector<std::int8_t> int8(in.size());
    std::vector<std::uint16_t> bf16(in.size());
    std::vector<float> scales(rows);
    const kernels::Quantize op{.in = in.data(),
                               .out = {.bf16 = codes ? nullptr : bf16.data(),
                                       .codes = codes ? int8.data() : nullptr,
                                       .scales = codes ? scales.data() : nullptr},
                               .rows = rows,
                               .width = width};
    report_alone(name, stream_ns(*pool_, in.size() * (codes ? 5 : 6)),
                 [&] { backend_->quantize(op); });
  }

  // LayerNorm that leaves its rows as codes too.
  void layer_norm_to_codes(std::uint32_t rows, std::uint32_t width) {
    const std::string name =
        "layer_norm " + std::to_string(rows) + " x " + std::to_string(width) + " and int8";
    if (!report_.wants(full_name(name))) return;
    const auto in = random_floats(std::size_t{rows} * width, 1.0F);
    const auto gamma = random_floats(width, 1.0F);
    std::vector<float> out(in.size());
    std::vector<std::int8_t> codes(in.size());
    std::vector<float> scales(rows);
    const kernels::LayerNorm op{.in = in.data(),
                                .gamma = gamma.data(),
                                .beta = gamma.data(),
                                .out = out.data(),
                                .rows = rows,
                                .width = width,
                                .epsilon = 1e-12F,
                                .narrowed = {.codes = codes.data(), .scales = scales.data()}};
    report_alone(name, stream_ns(*pool_, in.size() * 9), [&] { backend_->layer_norm(op); });
  }

  // On bf16 rows, against our own on floats.
  void narrow_attention(std::uint32_t sequences, std::uint32_t length, std::uint32_t heads,
                        std::uint32_t head_width) {
    const std::string name = "bf16 attention " + std::to_string(sequences) + " x " +
                             std::to_string(length) + ", " + std::to_string(heads) + " heads of " +
                             std::to_string(head_width);
    if (!report_.wants(full_name(name))) return;
    const std::size_t width = std::size_t{heads} * head_width;
    const std::size_t tokens = std::size_t{sequences} * length;
    auto floats = random_floats(tokens * 3 * width, 1.0F);
    for (float& x : floats) x = kernels::float_from_bf16(kernels::bf16_from_float(x));
    const NarrowRows rows(*backend_, floats, static_cast<std::uint32_t>(tokens),
                          static_cast<std::uint32_t>(3 * width));
    const auto offsets = even_offsets(sequences, length);
    const kernels::Attention op{.qkv = rows.rows(LinearFormat::kBF16),
                                .offsets = offsets.data(),
                                .out = {},
                                .sequences = sequences,
                                .heads = heads,
                                .head_width = head_width};
    const double flops = 4.0 * static_cast<double>(tokens) * length * static_cast<double>(width);
    race_with(
        name, op, tokens * width,
        {.compute_ns = flops / (peak_bf16_ > 0 ? peak_bf16_ : peak_),
         .compute_name = peak_bf16_ > 0 ? "bf16 peak" : "FMA peak",
         .memory_ns = stream_ns(*pool_, tokens * width * (3 * 2 + 4))},
        [&](kernels::Attention o) {
          o.sequences = 1;
          reference_->attention(o);
          return length * width;
        },
        [&](const kernels::Attention& o) { backend_->attention(o); }, "ours in fp32",
        [&](kernels::Attention o) {
          o.qkv = floats.data();
          backend_->attention(o);
        });
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

  // Floats, and what they are as bf16 and as codes.
  class NarrowRows {
   public:
    NarrowRows(Backend& backend, const std::vector<float>& floats, std::uint32_t rows,
               std::uint32_t width)
        : bf16_(floats.size()), codes_(floats.size()), scales_(rows) {
      backend.quantize({.in = floats.data(),
                        .out = {bf16_.data(), codes_.data(), scales_.data()},
                        .rows = rows,
                        .width = width});
      std::fill(scales_.begin(), scales_.end(), kRowScale);  // the peer knows one scale only
    }
    [[nodiscard]] RowsIn rows(LinearFormat format) const {
      return format == LinearFormat::kBF16 ? RowsIn::bf16(bf16_.data())
                                           : RowsIn::codes(codes_.data(), scales_.data());
    }

   private:
    std::vector<std::uint16_t> bf16_;
    std::vector<std::int8_t> codes_;
    std::vector<float> scales_;
  };

  struct Bounds {
    double compute_ns;
    std::string compute_name;
    double memory_ns;
  };

  template <typename Op, typename Verify, typename Ours, typename Theirs>
  void compare(const std::string& name, const Op& op, std::size_t count, double compute_ns,
               double memory_ns, Verify verify, Ours ours, Theirs theirs) {
    race_with(name, op, count,
              {.compute_ns = compute_ns, .compute_name = "FMA peak", .memory_ns = memory_ns},
              verify, ours, peer_ ? peer_->name() : "", theirs);
  }

  // Verifies, times and reports one case. `verify` computes the first elements of the reference's
  // output and returns how many. Without a peer its name is "".
  template <typename Op, typename Verify, typename Ours, typename Theirs>
  void race_with(const std::string& name, const Op& op, std::size_t count, const Bounds& bounds,
                 Verify verify, Ours ours, const std::string& peer, Theirs theirs) {
    std::vector<float> reference_out(count);
    std::vector<float> our_out(count);
    std::vector<float> their_out(count);
    Op reference_op = op;
    reference_op.out = reference_out.data();
    Op our_op = op;
    our_op.out = our_out.data();
    Op their_op = op;
    their_op.out = their_out.data();

    // Attention in bf16 rounds its weights, and a peer may order or round its sums of bf16 as it
    // likes.
    const bool narrow = name.starts_with("bf16");
    const std::size_t verified = verify(reference_op);
    ours(our_op);
    CHECK(error_of(our_out, reference_out, verified) <= (narrow ? kNarrowErrorMax : kErrorMax));
    std::vector<std::function<void()>> contenders = {[&] { ours(our_op); }};
    if (!peer.empty()) {
      theirs(their_op);
      CHECK(error_of(their_out, our_out, count) <= (narrow ? kNarrowErrorMax : kErrorMax));
      contenders.emplace_back([&] { theirs(their_op); });
    }
    finish(name, bounds, peer, contenders);
  }

  // Times and reports what has no peer; tests/kernels verifies it.
  void report_alone(const std::string& name, double memory_ns, const std::function<void()>& ours) {
    const std::vector<std::function<void()>> contenders = {ours};
    finish(name, {.compute_ns = 0, .compute_name = "", .memory_ns = memory_ns}, "", contenders);
  }

  void finish(const std::string& name, const Bounds& bounds, const std::string& peer,
              const std::vector<std::function<void()>>& contenders) {
    // After that long the peer's threads sleep: see main().
    const Race rules{.runs = quick_ ? 5U : 7U,
                     .block_ns = (quick_ ? 3 : 12) * base::kMillisecond,
                     .settle_ns = !peer.empty() && threads_ > 1 ? 5 * base::kMillisecond : 0,
                     .cpu_time = threads_ == 1};
    const auto samples = race(contenders, rules);
    constexpr double kMicro = 1e-3;
    const bool computes = bounds.compute_ns > bounds.memory_ns;
    Row row{.bench = "kernels",
            .name = full_name(name),
            .unit = "us",
            .less_is_better = true,
            .ours = {.median = samples[0].median * kMicro,
                     .min = samples[0].min * kMicro,
                     .max = samples[0].max * kMicro},
            .peer = std::nullopt,
            .peer_name = peer.empty() ? "-" : peer,
            .bound = std::max(bounds.compute_ns, bounds.memory_ns) * kMicro,
            .bound_name = computes ? bounds.compute_name : "memory stream",
            .runs = rules.runs};
    if (!peer.empty()) row.peer = samples[1].median * kMicro;
    report_.add(std::move(row));
  }

  const unsigned threads_;
  const bool quick_;
  Report& report_;
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> reference_;
  std::unique_ptr<kernels::cpu::ThreadPool> pool_;
  double peak_ = 0;       // floating-point operations per nanosecond
  double peak_bf16_ = 0;  // the same in bf16 and int8, 0 without an instruction for it
  double peak_int8_ = 0;
};

void narrow_layers(Bench& bench, LinearFormat format, std::uint32_t rows, std::uint32_t width) {
  bench.narrow_linear(format, rows, width, 3 * width, Activation::kNone, false);
  bench.narrow_linear(format, rows, width, width, Activation::kNone, true);
  bench.narrow_linear(format, rows, width, 4 * width, Activation::kGelu, false);
  bench.narrow_linear(format, rows, 4 * width, width, Activation::kNone, true);
}

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
    for (const LinearFormat format : {LinearFormat::kBF16, LinearFormat::kInt8}) {
      for (const std::uint32_t width : {384U, 768U}) {
        for (const std::uint32_t rows : {1U, 16U, 32U, 128U, 512U}) {
          if (options.quick && rows % 128 == 32) continue;
          narrow_layers(bench, format, rows, width);
        }
      }
    }
    for (const std::uint32_t width : {384U, 768U, 1536U, 3072U}) {
      bench.quantize(128, width, true);
      bench.quantize(128, width, false);
      bench.layer_norm_to_codes(128, width);
    }
    for (const std::uint32_t length : {32U, 128U, 512U}) {
      bench.narrow_attention(512 / length, length, 12, 32);
      bench.narrow_attention(512 / length, length, 12, 64);
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
  // OpenMP's, which oneDNN uses, count turns of their loop.
  constexpr const char* kTimeout = "OPENBLAS_THREAD_TIMEOUT";
  if (std::getenv(kTimeout) == nullptr && ::setenv(kTimeout, "20", 1) == 0 &&
      ::setenv("GOMP_SPINCOUNT", "100000", 0) == 0) {
    ::execv("/proc/self/exe", argv);
  }
  const auto options = nacelle::bench::parse_options({argv, static_cast<std::size_t>(argc)});
  if (!options) {
    std::fprintf(stderr, "bench_kernels: %s\n", options.error().message.c_str());
    return 2;
  }
  return nacelle::bench::run(*options);
}
