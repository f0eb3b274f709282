// See weights.h.
#include "sidecar/model/weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kernels/element.h"
#include "sidecar/files/json.h"

namespace nacelle::model {
namespace {

using kernels::ElementType;

std::optional<ElementType> element_type(std::string_view dtype) {
  if (dtype == "F32") return ElementType::kF32;
  if (dtype == "F16") return ElementType::kF16;
  if (dtype == "BF16") return ElementType::kBF16;
  return std::nullopt;
}

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

}  // namespace

base::Result<Weights> Weights::open(const std::string& path, kernels::Backend& backend) {
  auto file = files::Safetensors::open(path);
  if (!file) return file.error();
  Weights weights;
  weights.file_ = std::move(*file);
  weights.backend_ = &backend;
  return weights;
}

const files::TensorView* Weights::find(const std::string& name,
                                       std::span<const std::uint64_t> shape) {
  if (error_) return nullptr;
  const files::TensorView* view = file_.find(name);
  if (view == nullptr) {
    error_ = base::Error{base::Code::kInvalid, file_.path() + ": tensor \"" + name +
                                                   "\" is missing; it must have shape " +
                                                   shape_text(shape)};
    return nullptr;
  }
  if (!element_type(view->dtype) || !std::ranges::equal(view->shape, shape)) {
    error_ = base::Error{base::Code::kInvalid, file_.path() + ": tensor \"" + name + "\" at byte " +
                                                   std::to_string(view->file_offset) +
                                                   ": expected F32, F16 or BF16 of " + "shape " +
                                                   shape_text(shape) + ", found " + view->dtype +
                                                   " of shape " + shape_text(view->shape)};
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

std::unique_ptr<kernels::PackedLinear> Weights::linear(const std::string& prefix, LayerNames parts,
                                                       std::uint32_t outputs,
                                                       std::uint32_t inputs) {
  const std::array<std::uint64_t, 2> shape{outputs, inputs};
  const std::array<std::uint64_t, 1> bias_shape{outputs};
  std::vector<const files::TensorView*> views;
  std::vector<float> bias;
  for (const std::string_view part : parts) {
    const std::string name = prefix + std::string(part);
    views.push_back(find(name + ".weight", shape));
    const files::TensorView* bias_view = find(name + ".bias", bias_shape);
    if (views.back() == nullptr || bias_view == nullptr) return nullptr;
    append_floats(*bias_view, bias);
  }

  // One part is packed from where it lies. Several are stacked first: as they are when they share a
  // type, as floats when they do not.
  const files::TensorView& first = *views.front();
  kernels::Tensor stacked{.data = first.bytes.data(),
                          .type = type_of(first),
                          .rows = static_cast<std::uint32_t>(outputs * parts.size()),
                          .columns = inputs};
  std::vector<std::byte> bytes;
  std::vector<float> floats;
  const bool one_type = std::ranges::all_of(
      views, [&](const files::TensorView* view) { return view->dtype == first.dtype; });
  if (!one_type) {
    for (const files::TensorView* view : views) append_floats(*view, floats);
    stacked.data = floats.data();
    stacked.type = ElementType::kF32;
  } else if (views.size() > 1 || !is_aligned(first)) {
    for (const files::TensorView* view : views) {
      bytes.insert(bytes.end(), view->bytes.begin(), view->bytes.end());
    }
    stacked.data = bytes.data();
  }
  auto packed = backend_->pack({.weights = stacked, .bias = bias.data()});
  if (!packed) {
    error_ = packed.error().in("packing " + file_.path() + ": " + prefix + std::string(parts[0]));
    return nullptr;
  }
  // Backends pack as floats; what they add to round up is not counted.
  memory_bytes_ += (std::uint64_t{stacked.rows} * inputs + bias.size()) * sizeof(float);
  return std::move(*packed);
}

void Weights::drop_pages() {
  const std::span<const std::byte> bytes = file_.file_bytes();
  // Only advice: a refusal costs memory, not correctness. The pages are the file's own, unchanged.
  static_cast<void>(madvise(const_cast<std::byte*>(bytes.data()), bytes.size(), MADV_DONTNEED));
}

}  // namespace nacelle::model
