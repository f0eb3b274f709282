// A model's tensors by name: shapes and types checked, tables used where the file has them.
//
// Like Fields, it keeps the first problem and answers nothing useful after it: a loader asks for
// all its tensors in a row and looks at status() once, before it uses any of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/files/safetensors.h"

namespace nacelle::model {

// A linear layer's parts, stacked: outputs of the first name come first.
using LayerNames = std::span<const std::string_view>;

class Weights {
 public:
  // Maps `path` (model.safetensors). `backend` outlives what is packed.
  static base::Result<Weights> open(const std::string& path, kernels::Backend& backend);

  [[nodiscard]] bool has(std::string_view name) const { return file_.find(name) != nullptr; }

  // A table of `rows` x `columns` of F32, F16 or BF16. It points into the mapping, or into a copy
  // when the file has it at an odd address; valid for this object's life.
  kernels::Tensor table(const std::string& name, std::uint32_t rows, std::uint32_t columns);

  // A vector of `size` elements as floats.
  std::vector<float> vector(const std::string& name, std::uint32_t size);

  // `prefix`<part>.weight [outputs, inputs] and `prefix`<part>.bias [outputs] of every part, packed
  // as one layer of parts x outputs.
  std::unique_ptr<kernels::PackedLinear> linear(const std::string& prefix, LayerNames parts,
                                                std::uint32_t outputs, std::uint32_t inputs);

  // Takes the file's pages out of this process's memory; they come back from the page cache, one by
  // one, where a table is used. For after packing, which has read everything once.
  void drop_pages();

  // The first problem: kInvalid names the file, the tensor, its byte offset, what was expected and
  // what was found.
  [[nodiscard]] base::Status status() const { return error_ ? base::Status(*error_) : base::ok(); }

  [[nodiscard]] std::uint64_t parameters() const { return parameters_; }      // asked for so far
  [[nodiscard]] std::uint64_t memory_bytes() const { return memory_bytes_; }  // beside the mapping

 private:
  const files::TensorView* find(const std::string& name, std::span<const std::uint64_t> shape);

  files::Safetensors file_;
  kernels::Backend* backend_ = nullptr;
  std::vector<std::vector<std::byte>> copies_;  // of tables at odd addresses
  std::optional<base::Error> error_;
  std::uint64_t parameters_ = 0;
  std::uint64_t memory_bytes_ = 0;
};

}  // namespace nacelle::model
