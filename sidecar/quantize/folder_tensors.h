// All tensors of a model's folder by name, from its one file of weights or from its shards.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/files/safetensors.h"

namespace nacelle::quantize {

class FolderTensors {
 public:
  static base::Result<FolderTensors> open(const std::string& folder);

  [[nodiscard]] const std::map<std::string, const files::TensorView*>& all() const {
    return tensors_;
  }
  // nullptr when there is none.
  [[nodiscard]] const files::TensorView* find(const std::string& name) const;
  [[nodiscard]] const std::string& path() const { return files_.front().path(); }

  // The weights of linear layer `name`, [outputs, inputs], as floats: those of the file, or what
  // its codes and scales stand for. Nothing when there is no such layer in a form that is known.
  struct Weights {
    std::vector<float> values;
    std::size_t inputs = 0;
  };
  [[nodiscard]] std::optional<Weights> layer(const std::string& name) const;

 private:
  std::vector<files::Safetensors> files_;
  std::map<std::string, const files::TensorView*> tensors_;  // into files_, whose maps stay
};

// F32, F16 or BF16; nothing for other types.
std::optional<kernels::ElementType> float_type(std::string_view dtype);
// Of a tensor with such a type.
std::vector<float> floats_of(const files::TensorView& view);

}  // namespace nacelle::quantize
