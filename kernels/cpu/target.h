// One instruction set's kernels, as tables of plain functions over plain data.
//
// The files that fill such a table (avx2.cc, avx512.cc, ...) are compiled for machines that may not
// be this one. If such a file shared an inline function with the rest of the program, the linker
// could keep its copy for everybody, and the program would die of SIGILL on an older CPU. So these
// files see this header and the op structs only, and define no symbol but their tables
// (tests/kernels checks that with nm).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/embed.h"
#include "kernels/gate.h"
#include "kernels/linear_format.h"
#include "kernels/norm.h"
#include "kernels/normalize.h"
#include "kernels/pool.h"
#include "kernels/quantize.h"
#include "kernels/rotary.h"

namespace nacelle::kernels::cpu {

// Rows [row_begin, row_end) and panels [panel_begin, panel_end) of a linear layer's output; the
// panels are laid out as panels.h says.
struct LinearBlock {
  RowsIn in;              // [rows, inputs]
  const void* panels;     // all panels of the layer
  const float* bias;      // [outputs, rounded up to whole vectors]  zeros when the layer has none
  const float* scales;    // the same of kInt8, or nullptr
  const float* residual;  // [rows, outputs] or nullptr
  RowsOut out;            // [rows, outputs]
  std::size_t inputs;
  std::size_t outputs;
  std::size_t row_begin;
  std::size_t row_end;  // at most LinearKernel::block_rows behind row_begin
  std::size_t panel_begin;
  std::size_t panel_end;
  Activation activation;
  void* scratch;  // as many bytes as LinearKernel::scratch() says, aligned to 64
};

// How a kernel wants a layer's weights: see panels.h.
struct PanelLayout {
  const char* name;  // changes whenever a byte of the packed layer would
  LinearFormat format;
  std::uint32_t panel;  // output columns in a full panel: the tile's width, whole `lanes`
  std::uint32_t lanes;  // columns are rounded up to a multiple of these
  std::uint32_t group;  // inputs of a column that lie side by side
  std::uint32_t depth;  // inputs are rounded up to a multiple of these, itself one of `group`
  bool offset = false;  // codes are stored + 128, as bytes without a sign
};

// The linear layers of one format.
struct LinearKernel {
  PanelLayout layout;
  std::uint32_t tile_rows;        // rows that the tile holds in registers
  std::uint32_t block_rows;       // rows of a block at most, whole tiles
  std::uint32_t products_per_ns;  // about, with rows enough: only to decide about threads
  std::size_t (*scratch)(std::size_t rows, std::size_t inputs);  // bytes
  void (*run)(const LinearBlock& block);
};

// Inputs of a linear layer in floats that are taken at a time when there are many rows; sums wait
// in `out` between two of them. So much of the rows, with two panels (one in use, one on its way),
// fits the second-level cache.
inline constexpr std::size_t kLinearDepth = 768;

// Queries [query_begin, query_end) of one head of one sequence; at most kQueriesMax of them.
struct AttentionBlock {
  std::uint32_t sequence;
  std::uint32_t head;
  std::uint32_t query_begin;  // counted from the sequence's first token
  std::uint32_t query_end;
  float* scratch;  // as many floats as attention_scratch() says, aligned to 64 bytes
};
inline constexpr std::uint32_t kQueriesMax = 192;

// All ops but the linear layers, of one vector type.
struct Ops {
  std::uint32_t lanes;  // floats in a vector
  void (*attention)(const Attention& op, const AttentionBlock& block);
  std::size_t (*attention_scratch)(std::uint32_t head_width);  // floats
  void (*rotary)(const Rotary& op, std::size_t token_begin, std::size_t token_end);
  void (*gate)(const Gate& op, std::size_t row_begin, std::size_t row_end);
  void (*embed)(const EmbedNorm& op, std::size_t token_begin, std::size_t token_end);
  void (*layer_norm)(const LayerNorm& op, std::size_t row_begin, std::size_t row_end);
  void (*pool)(const Pool& op, std::size_t sequence_begin, std::size_t sequence_end);
  void (*normalize)(const Normalize& op, std::size_t row_begin, std::size_t row_end);
  void (*quantize)(const Quantize& op, std::size_t row_begin, std::size_t row_end);

  // The elementary functions, for the tests that measure their error: out[i] = f(in[i]).
  void (*exp_nonpositive)(const float* in, float* out, std::size_t count);
  void (*exp2_rough)(const float* in, float* out, std::size_t count);
  void (*erf)(const float* in, float* out, std::size_t count);
  void (*tanh)(const float* in, float* out, std::size_t count);
};

// Attention with products in bf16, in the scratch that Ops::attention_scratch() of its vector type
// asks for.
struct AttentionKernel {
  void (*run)(const Attention& op, const AttentionBlock& block);
};

// What a machine runs: ops of one vector type, and the best kernel it has for each format.
struct Target {
  const char* name;
  const Ops* ops;
  const LinearKernel* linear[kLinearFormats];       // by LinearFormat
  const AttentionKernel* attention_bf16 = nullptr;  // nullptr: ops->attention, in floats
};

}  // namespace nacelle::kernels::cpu
