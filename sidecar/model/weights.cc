// See weights.h.
#include "sidecar/model/weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "kernels/element.h"
#include "sidecar/base/log.h"
#include "sidecar/files/json.h"
#include "sidecar/model/fields.h"
#include "sidecar/store/store.h"

namespace nacelle::model {
namespace {

using kernels::element_type;
using kernels::ElementType;

constexpr std::size_t kIndexSizeMax = 16 << 20;  // bytes; a line of 100 for each tensor

std::string shape_text(std::span<const std::uint64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

// Only for tensors that find() has accepted.
ElementType type_of(const files::TensorView& view) { return *element_type(view.dtype); }

bool is_aligned(const files::TensorView& view) {
  const auto address = reinterpret_cast<std::uintptr_t>(view.bytes.data());
  return address % kernels::element_size(type_of(view)) == 0;
}

void append_floats(const files::TensorView& view, std::vector<float>& out) {
  const ElementType type = type_of(view);
  const std::size_t count = view.bytes.size() / kernels::element_size(type);
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(kernels::load_element(view.bytes.data(), type, i));
  }
}

// What model.safetensors.index.json says.
struct Index {
  std::vector<std::string> names;                            // of the shards, each once
  std::map<std::string, std::size_t, std::less<>> shard_of;  // a tensor's place in `names`
};

base::Result<Index> read_index(const std::string& path) {
  const auto refuse = [&](const std::string& problem) {
    return base::Error{base::Code::kInvalid, path + ": weight_map: " + problem};
  };
  const auto json = files::read_json(path, kIndexSizeMax);
  if (!json) return json.error();
  if (!json->is_object()) return refuse("the file is not a JSON object");
  const auto map = json->find("weight_map");
  if (map == json->end() || !map->is_object() || map->empty()) {
    return refuse("must map tensors to files");
  }
  Index index;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !store::is_shard(file.get_ref<const std::string&>())) {
      return refuse(files::in_quotes(tensor) + " is in " + shown(file) +
                    "; a shard is a file named model-<...>.safetensors in the same folder");
    }
    const auto& name = file.get_ref<const std::string&>();
    const auto at = std::ranges::find(index.names, name);
    index.shard_of[tensor] = static_cast<std::size_t>(at - index.names.begin());
    if (at == index.names.end()) index.names.push_back(name);
    if (index.names.size() > Weights::kShardsMax) {
      return refuse("names more than " + std::to_string(Weights::kShardsMax) + " files");
    }
  }
  return index;
}

}  // namespace

base::Result<Weights> Weights::open(const std::string& directory, kernels::Backend& backend,
                                    Packing packing) {
  Weights weights;
  weights.packing_ = std::move(packing);
  weights.backend_ = &backend;
  const std::string index = directory + "/" + store::kWeightsIndexFile;
  std::error_code ignored;
  if (!std::filesystem::exists(directory + "/" + store::kWeightsFile, ignored) &&
      std::filesystem::exists(index, ignored)) {
    auto shards = read_index(index);
    if (!shards) return shards.error();
    for (const std::string& name : shards->names) {
      auto file = files::Safetensors::open(directory + "/" + name);
      if (!file) return file.error().in("opening a shard that " + index + " names");
      weights.files_.push_back(std::move(*file));
    }
    weights.shards_ = std::move(shards->shard_of);
    return weights;
  }
  auto file = files::Safetensors::open(directory + "/" + store::kWeightsFile);
  if (!file) {
    if (file.error().code != base::Code::kNotFound) return file.error();
    return base::Error{base::Code::kNotFound,
                       file.error().message + ": weights must be in " + store::kWeightsFile +
                           ", or in the shards of " + store::kWeightsIndexFile +
                           "; other formats (pytorch_model.bin, ...) must be converted"};
  }
  weights.files_.push_back(std::move(*file));
  return weights;
}

Weights::Place Weights::look_up(std::string_view name) const {
  const files::Safetensors* file = &files_.front();
  if (!shards_.empty()) {
    const auto shard = shards_.find(name);
    if (shard == shards_.end()) return {file, nullptr};
    file = &files_[shard->second];
  }
  return {file, file->find(name)};
}

const files::TensorView* Weights::find(const std::string& name,
                                       std::span<const std::uint64_t> shape, bool int8_too) {
  if (error_) return nullptr;
  const auto [file, view] = look_up(name);
  if (view == nullptr) {
    error_ = base::Error{base::Code::kInvalid, file->path() + ": tensor \"" + name +
                                                   "\" is missing; it must have shape " +
                                                   shape_text(shape)};
    return nullptr;
  }
  const std::optional<ElementType> type = element_type(view->dtype);
  if (!type || (*type == ElementType::kI8 && !int8_too) ||
      !std::ranges::equal(view->shape, shape)) {
    error_ = base::Error{
        base::Code::kInvalid,
        file->path() + ": tensor \"" + name + "\" at byte " + std::to_string(view->file_offset) +
            ": expected F32, F16" + (int8_too ? ", BF16 or I8" : " or BF16") + " of shape " +
            shape_text(shape) + ", found " + view->dtype + " of shape " + shape_text(view->shape)};
    return nullptr;
  }
  parameters_ += view->bytes.size() / kernels::element_size(type_of(*view));
  return view;
}

kernels::Tensor Weights::table(const std::string& name, std::uint32_t rows, std::uint32_t columns) {
  const std::array<std::uint64_t, 2> shape{rows, columns};
  const files::TensorView* view = find(name, shape);
  if (view == nullptr) return {};
  const void* data = view->bytes.data();
  if (!is_aligned(*view)) {
    data = copies_.emplace_back(view->bytes.begin(), view->bytes.end()).data();
    memory_bytes_ += view->bytes.size();
  }
  return {.data = data, .type = type_of(*view), .rows = rows, .columns = columns};
}

std::vector<float> Weights::vector(const std::string& name, std::uint32_t size) {
  const std::array<std::uint64_t, 1> shape{size};
  std::vector<float> out;
  if (const files::TensorView* view = find(name, shape)) append_floats(*view, out);
  memory_bytes_ += out.size() * sizeof(float);
  return out;
}

std::vector<float> Weights::matrix(const std::string& name, std::uint32_t rows,
                                   std::uint32_t columns) {
  const std::array<std::uint64_t, 2> shape{rows, columns};
  std::vector<float> out;
  if (const files::TensorView* view = find(name, shape)) append_floats(*view, out);
  memory_bytes_ += out.size() * sizeof(float);
  return out;
}

Norm Weights::norm(const std::string& name, std::uint32_t width, Bias bias) {
  const bool old = has(name + ".gamma");
  Norm norm;
  norm.gamma = vector(name + (old ? ".gamma" : ".weight"), width);
  if (bias == Bias::kPresent) {
    norm.beta = vector(name + (old ? ".beta" : ".bias"), width);
  } else {
    norm.beta.assign(width, 0.0F);
  }
  return norm;
}

std::unique_ptr<kernels::PackedLinear> Weights::linear(const std::string& prefix, LayerNames parts,
                                                       std::uint32_t outputs, std::uint32_t inputs,
                                                       Bias bias) {
  return pack(prefix, parts, outputs, inputs, bias, /*in_body=*/false);
}

std::unique_ptr<kernels::PackedLinear> Weights::body(const std::string& prefix, LayerNames parts,
                                                     std::uint32_t outputs, std::uint32_t inputs,
                                                     Bias bias) {
  BodyLayer& layer = body_layers_.emplace_back();
  for (const std::string_view part : parts) layer.push_back(prefix + std::string(part));
  return pack(prefix, parts, outputs, inputs, bias, /*in_body=*/true);
}

std::unique_ptr<kernels::PackedLinear> Weights::pack(const std::string& prefix, LayerNames parts,
                                                     std::uint32_t outputs, std::uint32_t inputs,
                                                     Bias has_bias, bool in_body) {
  const std::array<std::uint64_t, 2> shape{outputs, inputs};
  const std::array<std::uint64_t, 1> bias_shape{outputs};
  const std::array<std::uint64_t, 2> scale_shape{outputs, 1};
  std::vector<const files::TensorView*> views;
  std::vector<float> bias;
  std::vector<float> scales;
  for (const std::string_view part : parts) {
    const std::string name = prefix + std::string(part);
    views.push_back(find(name + ".weight", shape, in_body));
    if (views.back() == nullptr) return nullptr;
    if (type_of(*views.back()) == ElementType::kI8) {
      const files::TensorView* scale = find(name + ".weight_scale", scale_shape);
      if (scale == nullptr) return nullptr;
      append_floats(*scale, scales);
      parameters_ -= outputs;
    }
    if (has_bias == Bias::kNone) continue;
    const files::TensorView* bias_view = find(name + ".bias", bias_shape);
    if (bias_view == nullptr) return nullptr;
    append_floats(*bias_view, bias);
  }
  const auto rows = static_cast<std::uint32_t>(outputs * parts.size());
  const bool int8 = !scales.empty();
  quantized_ |= int8;
  const auto is_part = [&](std::string_view part) {
    return prefix + std::string(part) == packing_.only;
  };
  const bool asked = packing_.only.empty() || std::ranges::any_of(parts, is_part);
  const kernels::LinearFormat format =
      in_body ? format_of(asked ? packing_.precision : Precision::kAuto, int8)
              : kernels::LinearFormat::kF32;
  const std::string key = prefix + std::string(parts[0]);
  if (in_body) {
    if (auto found = packing_.cache.find(key, format, inputs, rows, *backend_)) return found;
  }

  // One part is packed from where it lies. Several are stacked first: as they are when they share a
  // type, as floats when they do not.
  const files::TensorView& first = *views.front();
  kernels::Tensor stacked{
      .data = first.bytes.data(), .type = type_of(first), .rows = rows, .columns = inputs};
  std::vector<std::byte> bytes;
  std::vector<float> floats;
  const bool one_type = std::ranges::all_of(
      views, [&](const files::TensorView* view) { return view->dtype == first.dtype; });
  if (!one_type) {
    std::size_t scaled = 0;  // rows of codes so far
    for (const files::TensorView* view : views) {
      const std::size_t begin = floats.size();
      append_floats(*view, floats);
      if (type_of(*view) != ElementType::kI8) continue;
      for (std::size_t i = begin; i < floats.size(); ++i) {
        floats[i] *= scales[scaled + (i - begin) / inputs];
      }
      scaled += outputs;
    }
    scales.clear();
    stacked.data = floats.data();
    stacked.type = ElementType::kF32;
  } else if (views.size() > 1 || !is_aligned(first)) {
    for (const files::TensorView* view : views) {
      bytes.insert(bytes.end(), view->bytes.begin(), view->bytes.end());
    }
    stacked.data = bytes.data();
  }
  auto packed = backend_->pack({.weights = stacked,
                                .bias = bias.empty() ? nullptr : bias.data(),
                                .scales = scales.empty() ? nullptr : scales.data(),
                                .format = format});
  if (!packed) {
    error_ = packed.error().in("packing " + key);
    return nullptr;
  }
  memory_bytes_ += (*packed)->bytes.size();
  if (in_body) packing_.cache.add(key, (*packed)->bytes);
  return std::move(*packed);
}

void Weights::store_packed() {
  if (const base::Status stored = packing_.cache.store(); !stored) {
    base::log_warn("packed weights cannot be kept: the next start packs them again",
                   {{"reason", stored.error().message}});
  }
}

void Weights::drop_pages() {
  for (const files::Safetensors& file : files_) {
    const std::span<const std::byte> bytes = file.file_bytes();
    // Only advice: a refusal costs memory, not correctness. The pages are the file's own,
    // unchanged.
    static_cast<void>(madvise(const_cast<std::byte*>(bytes.data()), bytes.size(), MADV_DONTNEED));
  }
}

}  // namespace nacelle::model
