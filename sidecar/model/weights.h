// A model's tensors by name: shapes and types checked, tables used where the file has them. They
// lie in one safetensors file, or in several that an index names.
//
// Like Fields, it keeps the first problem and answers nothing useful after it: a loader asks for
// all its tensors in a row and looks at status() once, before it uses any of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/files/safetensors.h"
#include "sidecar/model/packed_cache.h"
#include "sidecar/model/precision.h"

namespace nacelle::model {

// A linear layer's parts, stacked: outputs of the first name come first.
using LayerNames = std::span<const std::string_view>;

// How the body's linear layers are packed.
struct Packing {
  Precision precision = Precision::kAuto;
  // Only the layer with this part, named as in the file without ".weight", has that precision; the
  // others are as kAuto has them. "": all layers.
  std::string only = {};
  PackedCache cache = {};
};

// The parts of one packed layer of the body, named as in the file without ".weight".
using BodyLayer = std::vector<std::string>;

// A LayerNorm's vectors; one without a bias has a beta of zeros.
struct Norm {
  std::vector<float> gamma;  // [width]
  std::vector<float> beta;   // [width]
};

// Whether a layer of the file has a bias.
enum class Bias : bool { kNone, kPresent };

class Weights {
 public:
  // Maps model.safetensors of `directory`, or the shards that model.safetensors.index.json there
  // names: at most kShardsMax files right inside `directory`, named as store::is_shard wants them.
  // `backend` outlives what is packed.
  static base::Result<Weights> open(const std::string& directory, kernels::Backend& backend,
                                    Packing packing = {});
  static constexpr std::size_t kShardsMax = 256;

  [[nodiscard]] bool has(std::string_view name) const { return look_up(name).view != nullptr; }

  // `prefix` when the tensor `prefix`<name> is there, else "": files of a whole model keep the
  // encoder's tensors under a prefix, files of a bare encoder may not.
  [[nodiscard]] std::string prefix_of(std::string_view prefix, const std::string& name) const {
    return has(std::string(prefix) + name) ? std::string(prefix) : std::string();
  }

  // A table of `rows` x `columns` of F32, F16 or BF16. It points into the mapping, or into a copy
  // when the file has it at an odd address; valid for this object's life.
  kernels::Tensor table(const std::string& name, std::uint32_t rows, std::uint32_t columns);

  // A vector of `size` elements as floats; a matrix of rows x columns as floats.
  std::vector<float> vector(const std::string& name, std::uint32_t size);
  std::vector<float> matrix(const std::string& name, std::uint32_t rows, std::uint32_t columns);

  // <name>.weight and <name>.bias, or the older names <name>.gamma and <name>.beta.
  Norm norm(const std::string& name, std::uint32_t width, Bias bias = Bias::kPresent);

  // `prefix`<part>.weight [outputs, inputs] and `prefix`<part>.bias [outputs] of every part, packed
  // as one layer of parts x outputs.
  std::unique_ptr<kernels::PackedLinear> linear(const std::string& prefix, LayerNames parts,
                                                std::uint32_t outputs, std::uint32_t inputs,
                                                Bias bias = Bias::kPresent);
  // The same for one part: <name>.weight and <name>.bias.
  std::unique_ptr<kernels::PackedLinear> linear(std::string_view name, std::uint32_t outputs,
                                                std::uint32_t inputs, Bias bias = Bias::kPresent) {
    return linear("", LayerNames(&name, 1), outputs, inputs, bias);
  }

  // The same for a layer of the encoder's body, in the arithmetic that the packing asks for. Its
  // parts may be stored as int8: <name>.weight of I8 with <name>.weight_scale [outputs, 1].
  std::unique_ptr<kernels::PackedLinear> body(const std::string& prefix, LayerNames parts,
                                              std::uint32_t outputs, std::uint32_t inputs,
                                              Bias bias = Bias::kPresent);
  std::unique_ptr<kernels::PackedLinear> body(std::string_view name, std::uint32_t outputs,
                                              std::uint32_t inputs, Bias bias = Bias::kPresent) {
    return body("", LayerNames(&name, 1), outputs, inputs, bias);
  }
  // Those asked for so far; whether a part of one was stored as int8.
  [[nodiscard]] const std::vector<BodyLayer>& body_layers() const { return body_layers_; }
  [[nodiscard]] bool quantized() const { return quantized_; }

  // Keeps what was packed for the next load. Problems are logged: they cost time, not service.
  void store_packed();

  // Takes the files' pages out of this process's memory; they come back from the page cache, one by
  // one, where a table is used. For after packing, which has read everything once.
  void drop_pages();

  // The first problem: kInvalid names the file, the tensor, its byte offset, what was expected and
  // what was found.
  [[nodiscard]] base::Status status() const { return error_ ? base::Status(*error_) : base::ok(); }

  [[nodiscard]] std::uint64_t parameters() const { return parameters_; }      // asked for so far
  [[nodiscard]] std::uint64_t memory_bytes() const { return memory_bytes_; }  // beside the mapping

 private:
  // A tensor and the file that it is in.
  struct Place {
    const files::Safetensors* file = nullptr;  // the first one when there is no such tensor
    const files::TensorView* view = nullptr;
  };
  [[nodiscard]] Place look_up(std::string_view name) const;
  const files::TensorView* find(const std::string& name, std::span<const std::uint64_t> shape,
                                bool int8_too = false);
  std::unique_ptr<kernels::PackedLinear> pack(const std::string& prefix, LayerNames parts,
                                              std::uint32_t outputs, std::uint32_t inputs,
                                              Bias bias, bool in_body);

  std::vector<files::Safetensors> files_;  // at least one
  std::map<std::string, std::size_t, std::less<>>
      shards_;  // which of files_ has a tensor; empty for one file
  kernels::Backend* backend_ = nullptr;
  Packing packing_;
  std::vector<BodyLayer> body_layers_;
  bool quantized_ = false;
  std::vector<std::vector<std::byte>> copies_;  // of tables at odd addresses
  std::optional<base::Error> error_;
  std::uint64_t parameters_ = 0;
  std::uint64_t memory_bytes_ = 0;
};

}  // namespace nacelle::model
