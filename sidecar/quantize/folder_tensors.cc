// See folder_tensors.h.
#include "sidecar/quantize/folder_tensors.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "kernels/element.h"
#include "sidecar/files/json.h"
#include "sidecar/store/store.h"

namespace nacelle::quantize {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using files::TensorView;
using kernels::ElementType;

base::Result<std::vector<std::string>> weight_files(const std::string& folder) {
  std::error_code failure;
  std::vector<std::string> names;
  if (fs::exists(fs::path(folder) / store::kWeightsFile, failure)) {
    return std::vector<std::string>{store::kWeightsFile};
  }
  fs::directory_iterator entries(folder, failure);
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure)) {
    const std::string name = entries->path().filename().string();
    if (store::is_shard(name)) names.push_back(name);
    if (names.size() > store::kEntriesMax)
      failure = std::make_error_code(std::errc::file_too_large);
  }
  if (failure) return Error{Code::kUnavailable, folder + ": " + failure.message()};
  if (names.empty()) {
    return Error{Code::kNotFound, folder + ": there is no " + store::kWeightsFile};
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::optional<ElementType> float_type(std::string_view dtype) {
  const std::optional<ElementType> type = kernels::element_type(dtype);
  return type == ElementType::kI8 ? std::nullopt : type;
}

std::vector<float> floats_of(const TensorView& view) {
  const ElementType type = *float_type(view.dtype);
  std::vector<float> out(view.bytes.size() / kernels::element_size(type));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = kernels::load_element(view.bytes.data(), type, i);
  }
  return out;
}

base::Result<FolderTensors> FolderTensors::open(const std::string& folder) {
  const auto names = weight_files(folder);
  if (!names) return names.error();
  FolderTensors tensors;
  for (const std::string& name : *names) {
    auto file = files::Safetensors::open(folder + "/" + name);
    if (!file) return file.error();
    tensors.files_.push_back(std::move(*file));
  }
  for (const files::Safetensors& file : tensors.files_) {
    for (const auto& [name, view] : file.tensors()) {
      if (!tensors.tensors_.emplace(name, &view).second) {
        return Error{Code::kInvalid, file.path() + ": tensor " + files::in_quotes(name) +
                                         " is in another shard, too"};
      }
    }
  }
  return tensors;
}

const TensorView* FolderTensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

std::optional<FolderTensors::Weights> FolderTensors::layer(const std::string& name) const {
  const TensorView* weight = find(name + ".weight");
  if (weight == nullptr || weight->shape.size() != 2 || weight->bytes.empty()) return std::nullopt;
  Weights out{.values = {}, .inputs = static_cast<std::size_t>(weight->shape[1])};
  if (float_type(weight->dtype)) {
    out.values = floats_of(*weight);
    return out;
  }
  const TensorView* scale = find(name + ".weight_scale");
  if (weight->dtype != "I8" || scale == nullptr || !float_type(scale->dtype)) return std::nullopt;
  const std::vector<float> scales = floats_of(*scale);
  if (scales.size() != weight->shape[0]) return std::nullopt;
  for (std::size_t i = 0; i < weight->bytes.size(); ++i) {
    const auto code = static_cast<std::int8_t>(weight->bytes[i]);
    out.values.push_back(static_cast<float>(code) * scales[i / out.inputs]);
  }
  return out;
}

}  // namespace nacelle::quantize
