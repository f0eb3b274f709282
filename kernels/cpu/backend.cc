// The CPU backend: checks the contract, cuts the op into tasks and gives them to the threads.
//
// How an op is cut never changes its result: a task is a set of whole output elements, and an
// element's additions are ordered by the loops alone. So the cuts below are free to look at the
// number of rows and threads.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/contracts.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/targets.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/memory.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"

namespace nacelle::kernels::cpu {
namespace {

// A job shorter than this, on one thread, is not shared: waking a sleeping thread costs its caller
// 11 to 17 us in a virtual machine, a spinning one about 1 us.
constexpr std::size_t kAloneNs = 8'000;

// What one thread does in a nanosecond, roughly: only to decide the above.
constexpr std::size_t kWeightBytesPerNs = 40;  // read for a few rows
constexpr std::size_t kScoresPerNs = 25;       // products of attention
constexpr std::size_t kFloatsPerNs = 10;       // passing through an op that works row by row

// Tasks for each thread, so that one that started late or was interrupted does not hold up all. A
// linear layer's are not made shorter than the second: each of them looks at all of its rows first.
constexpr std::size_t kTasksPerThread = 4;
constexpr std::size_t kTaskNs = 4'000;

constexpr std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

// [0, count) in `parts` nearly equal pieces, whose inner borders are multiples of `unit`.
struct Split {
  std::size_t count;
  std::size_t unit;
  std::size_t parts;

  [[nodiscard]] std::size_t begin(std::size_t part) const {
    const std::size_t units = divide_up(count, unit);
    return std::min(count, units * part / parts * unit);
  }
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Target& target, std::unique_ptr<ThreadPool> pool)
      : target_(target), pool_(std::move(pool)), scratch_(pool_->threads()) {}

  [[nodiscard]] std::string_view name() const override { return "cpu"; }
  [[nodiscard]] std::string description() const override {
    const unsigned threads = pool_->threads();
    return "cpu (" + std::string(target_.name) + ", " + std::to_string(threads) +
           (threads == 1 ? " thread)" : " threads)");
  }
  [[nodiscard]] std::string arithmetic() const override {
    return "cpu/" + std::string(target_.name);
  }

  base::Result<Buffer> allocate(std::size_t size) override { return allocate_host(size); }

  base::Result<std::unique_ptr<PackedLinear>> pack(const LinearWeights& weights) override {
    check_contract(weights);
    return cpu::pack(kernel(weights.format).layout, weights);
  }
  [[nodiscard]] std::string_view layout(LinearFormat format) const override {
    return kernel(format).layout.name;
  }
  base::Result<std::unique_ptr<PackedLinear>> view(LinearFormat format, std::uint32_t inputs,
                                                   std::uint32_t outputs,
                                                   std::span<const std::byte> bytes) override {
    return view_packed(packed_shape(kernel(format).layout, inputs, outputs), inputs, outputs,
                       bytes);
  }

  void embed(const EmbedNorm& op) override {
    check_contract(op);
    if (op.sequences == 0) return;
    run_split(op.offsets[op.sequences], 3 * std::size_t{op.width},
              [&](std::size_t begin, std::size_t end) { target_.ops->embed(op, begin, end); });
  }

  void linear(const Linear& op) override {
    check_contract(op);
    const LinearKernel& kernel = this->kernel(op.weights->format);
    CHECK(op.weights->layout == kernel.layout.name);  // packed by a backend like this
    if (op.rows == 0) return;
    const LinearBlock all{.in = op.in,
                          .panels = op.weights->weights,
                          .bias = op.weights->bias,
                          .scales = op.weights->scales,
                          .residual = op.residual,
                          .out = op.out,
                          .inputs = op.weights->inputs,
                          .outputs = op.weights->outputs,
                          .row_begin = 0,
                          .row_end = op.rows,
                          .panel_begin = 0,
                          .panel_end = divide_up(op.weights->outputs, kernel.layout.panel),
                          .activation = op.activation,
                          .scratch = nullptr};

    const Split rows{.count = all.row_end,
                     .unit = kernel.tile_rows,
                     .parts = divide_up(op.rows, kernel.block_rows)};
    // With few rows the panels are shared out instead: then every weight is read by one thread.
    const std::size_t time_ns =
        std::max(op.weights->bytes.size() / kWeightBytesPerNs,
                 all.inputs * all.outputs * op.rows / kernel.products_per_ns);
    const std::size_t threads = pool_->threads();
    const std::size_t tasks =
        std::max(threads, std::min(kTasksPerThread * threads, time_ns / kTaskNs));
    const std::size_t groups = is_alone(time_ns) ? 1 : divide_up(tasks, rows.parts);
    const Split panel_groups{
        .count = all.panel_end, .unit = 1, .parts = std::min(groups, all.panel_end)};
    need_scratch(kernel.scratch(kernel.block_rows, all.inputs));
    // Neighbouring tasks have the same rows.
    run(rows.parts * panel_groups.parts, is_alone(time_ns), [&](std::size_t task, unsigned thread) {
      LinearBlock block = all;
      block.row_begin = rows.begin(task / panel_groups.parts);
      block.row_end = rows.begin(task / panel_groups.parts + 1);
      block.panel_begin = panel_groups.begin(task % panel_groups.parts);
      block.panel_end = panel_groups.begin(task % panel_groups.parts + 1);
      block.scratch = scratch_[thread].as<void>();
      kernel.run(block);
    });
  }

  void rotary(const Rotary& op) override {
    check_contract(op);
    if (op.sequences == 0) return;
    run_split(op.offsets[op.sequences], 2 * std::size_t{op.heads} * op.head_width,
              [&](std::size_t begin, std::size_t end) { target_.ops->rotary(op, begin, end); });
  }

  void attention(const Attention& op) override {
    check_contract(op);
    if (op.sequences == 0) return;
    blocks_.clear();
    std::size_t products = 0;  // of the scores; the weighted values are as many
    for (std::uint32_t s = 0; s < op.sequences; ++s) {
      const std::uint32_t length = op.offsets[s + 1] - op.offsets[s];
      const std::size_t keys = std::min<std::size_t>(length, 2 * std::size_t{op.window} + 1);
      products += std::size_t{length} * keys * op.heads * op.head_width;
      for (std::uint32_t head = 0; head < op.heads; ++head) {
        for (std::uint64_t query = 0; query < length; query += kQueriesMax) {  // 64 bits: no wrap
          const std::uint64_t end = std::min<std::uint64_t>(query + kQueriesMax, length);
          blocks_.push_back({.sequence = s,
                             .head = head,
                             .query_begin = static_cast<std::uint32_t>(query),
                             .query_end = static_cast<std::uint32_t>(end),
                             .scratch = nullptr});
        }
      }
    }
    need_scratch(target_.ops->attention_scratch(op.head_width) * sizeof(float));
    const auto attend = op.qkv.type == ElementType::kBF16 && target_.attention_bf16 != nullptr
                            ? target_.attention_bf16->run
                            : target_.ops->attention;
    run(blocks_.size(), is_alone(2 * products / kScoresPerNs),
        [&](std::size_t task, unsigned thread) {
          AttentionBlock block = blocks_[task];
          block.scratch = scratch_[thread].as<float>();
          attend(op, block);
        });
  }

  void gate(const Gate& op) override {
    check_contract(op);
    run_split(op.rows, 4 * std::size_t{op.width},  // an activation costs more than a copy
              [&](std::size_t begin, std::size_t end) { target_.ops->gate(op, begin, end); });
  }

  void layer_norm(const LayerNorm& op) override {
    check_contract(op);
    run_split(op.rows, op.width,
              [&](std::size_t begin, std::size_t end) { target_.ops->layer_norm(op, begin, end); });
  }

  void pool(const Pool& op) override {
    check_contract(op);
    if (op.sequences == 0) return;
    const bool one_token = op.pooling == Pooling::kFirst || op.pooling == Pooling::kLast;
    const std::size_t tokens = one_token ? op.sequences : op.offsets[op.sequences];
    run_split(op.sequences, tokens * op.width / op.sequences,
              [&](std::size_t begin, std::size_t end) { target_.ops->pool(op, begin, end); });
  }

  void quantize(const Quantize& op) override {
    check_contract(op);
    run_split(op.rows, op.width,
              [&](std::size_t begin, std::size_t end) { target_.ops->quantize(op, begin, end); });
  }

  void normalize(const Normalize& op) override {
    check_contract(op);
    run_split(op.rows, op.width,
              [&](std::size_t begin, std::size_t end) { target_.ops->normalize(op, begin, end); });
  }

 private:
  [[nodiscard]] const LinearKernel& kernel(LinearFormat format) const {
    return *target_.linear[static_cast<std::size_t>(format)];
  }

  // So many bytes for each thread. Grows at the first call that needs more than any before, and
  // never again: what a model needs is known after its first large batch.
  void need_scratch(std::size_t size) {
    for (Buffer& scratch : scratch_) {
      if (scratch.size() >= size) continue;
      auto larger = allocate_host(size);
      CHECK(larger.has_value());  // a few MiB at most: without them nothing works any more
      scratch = *std::move(larger);
    }
  }

  [[nodiscard]] bool is_alone(std::size_t time_ns) const {
    return pool_->threads() == 1 || time_ns < kAloneNs;
  }

  template <typename Function>
  void run(std::size_t tasks, bool alone, Function&& function) {
    CHECK(tasks <= UINT32_MAX);
    if (alone) {
      for (std::size_t task = 0; task < tasks; ++task) function(task, 0U);
    } else {
      pool_->run(static_cast<std::uint32_t>(tasks), function);
    }
  }

  // function(begin, end) over [0, count), where each item is `floats` long.
  template <typename Function>
  void run_split(std::size_t count, std::size_t floats, Function&& function) {
    if (is_alone(count * floats / kFloatsPerNs)) return function(std::size_t{0}, count);
    const Split split{
        .count = count, .unit = 1, .parts = std::min(count, kTasksPerThread * pool_->threads())};
    run(split.parts, false,
        [&](std::size_t task, unsigned) { function(split.begin(task), split.begin(task + 1)); });
  }

  const Target& target_;
  std::unique_ptr<ThreadPool> pool_;
  std::vector<Buffer> scratch_;         // one for each thread
  std::vector<AttentionBlock> blocks_;  // the tasks of one attention, kept for its memory
};

}  // namespace

base::Result<std::unique_ptr<Backend>> create(const BackendOptions& options) {
  const auto target = find_target(options.target);
  if (!target) return target.error();
  return create_on(**target, options.threads);
}

base::Result<std::unique_ptr<Backend>> create_on(const Target& target, unsigned threads) {
  auto pool = ThreadPool::create(threads);
  if (!pool) return pool.error();
  return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(target, *std::move(pool)));
}

}  // namespace nacelle::kernels::cpu
