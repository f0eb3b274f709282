#include "sidecar/quantize/convert.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernels/element.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/file.h"
#include "sidecar/files/json.h"
#include "sidecar/files/safetensors_writer.h"
#include "sidecar/quantize/folder_tensors.h"
#include "sidecar/quantize/report.h"
#include "sidecar/store/store.h"

namespace nacelle::quantize {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using files::Json;
using files::TensorView;

constexpr std::size_t kConfigSizeMax = 16U << 20;
constexpr std::string_view kWeight = ".weight";
constexpr std::size_t kFilesMax = 10'000;  // in the folder, modules' folders included

Error broken(const std::string& path, const std::error_code& failure) {
  return Error{Code::kUnavailable, path + ": " + failure.message()};
}

// What becomes of one tensor.
enum class Change : std::uint8_t { kNone, kHalf, kInt8 };

struct Plan {
  std::string name;
  const TensorView* view;
  Change change;
};

base::Result<std::vector<Plan>> plan(const Conversion& conversion, const FolderTensors& source) {
  std::set<std::string> layers;
  std::set<std::string> kept;
  for (const Layer& layer : conversion.layers) {
    const bool keep = std::ranges::find(conversion.keep, layer) != conversion.keep.end();
    for (const std::string& part : layer) {
      const std::string name = part + std::string(kWeight);
      const TensorView* found = source.find(name);
      if (found == nullptr || found->shape.size() != 2 || !float_type(found->dtype)) {
        return Error{Code::kInvalid, source.path() + ": there is no layer " +
                                         files::in_quotes(part) +
                                         " with a matrix of F32, F16 or BF16"};
      }
      (keep ? kept : layers).insert(name);
    }
  }
  for (const Layer& layer : conversion.keep) {
    if (std::ranges::find(conversion.layers, layer) == conversion.layers.end()) {
      return Error{Code::kInvalid, source.path() + ": there is no layer " +
                                       files::in_quotes(layer.empty() ? "" : layer.front()) +
                                       " to keep as it is"};
    }
  }
  std::vector<Plan> plans;
  for (const auto& [name, view] : source.all()) {
    Change change = Change::kNone;
    if (conversion.scheme == Scheme::kInt8) {
      if (layers.contains(name)) change = Change::kInt8;
    } else if (view->shape.size() >= 2 && float_type(view->dtype)) {
      if (!kept.contains(name)) change = Change::kHalf;
    }
    plans.push_back({name, view, change});
  }
  return plans;
}

std::vector<files::TensorEntry> entries_of(const std::vector<Plan>& plans, Scheme scheme) {
  std::vector<files::TensorEntry> entries;
  for (const Plan& plan : plans) {
    switch (plan.change) {
      case Change::kNone:
        entries.push_back({plan.name, plan.view->dtype, plan.view->shape});
        break;
      case Change::kHalf:
        entries.push_back({plan.name, scheme == Scheme::kF16 ? "F16" : "BF16", plan.view->shape});
        break;
      case Change::kInt8:
        entries.push_back({plan.name, "I8", plan.view->shape});
        entries.push_back({plan.name + "_scale", "F32", {plan.view->shape[0], 1}});
        break;
    }
  }
  return entries;
}

Error unfit(const FolderTensors& source, const Plan& plan, Scheme scheme) {
  return Error{Code::kInvalid, source.path() + ": tensor " + files::in_quotes(plan.name) +
                                   " at byte " + std::to_string(plan.view->file_offset) +
                                   ": holds NaN, infinity or a number beyond " +
                                   std::string(scheme_name(scheme))};
}

// Writes one tensor; a layer's distance when it was changed and is one.
base::Status write(const FolderTensors& source, const Plan& plan, Scheme scheme,
                   files::SafetensorsWriter& writer, std::vector<LayerDistance>& distances) {
  if (plan.change == Change::kNone) return writer.append(plan.view->bytes);
  const std::vector<float> before = floats_of(*plan.view);
  const auto inputs = static_cast<std::size_t>(plan.view->shape.back());
  if (before.empty()) return writer.append({});
  std::vector<float> after;
  if (plan.change == Change::kHalf) {
    std::vector<std::uint16_t> halves;
    const bool fits =
        scheme == Scheme::kF16 ? round_to_f16(before, halves) : round_to_bf16(before, halves);
    if (!fits) return unfit(source, plan, scheme);
    for (const std::uint16_t half : halves) {
      after.push_back(scheme == Scheme::kF16 ? kernels::float_from_f16(half)
                                             : kernels::float_from_bf16(half));
    }
    if (const auto status = writer.append(std::as_bytes(std::span(halves))); !status) return status;
  } else {
    const auto quantized = quantize_int8(before, inputs);
    if (!quantized) return unfit(source, plan, scheme);
    after = dequantize(*quantized, inputs);
    for (const auto bytes : {std::as_bytes(std::span(quantized->codes)),
                             std::as_bytes(std::span(quantized->scales))}) {
      if (const auto status = writer.append(bytes); !status) return status;
    }
  }
  distances.push_back(measure_layer(plan.name, before, after, inputs));
  return base::ok();
}

// What a reader of the compressed-tensors format must be told. It takes every linear layer for
// quantized but those named in "ignore", so that names all matrices that stay; embeddings are no
// linear layers, and harmless there.
Json quantization_config(const std::vector<Plan>& plans) {
  Json ignore = Json::array();
  for (const Plan& plan : plans) {
    if (plan.change == Change::kNone && plan.view->shape.size() == 2 &&
        plan.name.ends_with(kWeight)) {
      ignore.push_back(plan.name.substr(0, plan.name.size() - kWeight.size()));
    }
  }
  const auto eight_bits = [](const char* strategy, bool dynamic) {
    return Json{{"num_bits", 8},
                {"type", "int"},
                {"symmetric", true},
                {"strategy", strategy},
                {"dynamic", dynamic}};
  };
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"ignore", std::move(ignore)},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"weights", eight_bits("channel", false)},
              {"input_activations", eight_bits("token", true)}}}}}};
}

base::Status write_config(const Conversion& conversion, const std::vector<Plan>& plans,
                          const std::string& folder) {
  auto config = files::read_json(conversion.source + "/" + store::kConfigFile, kConfigSizeMax);
  if (!config) return config.error();
  if (!config->is_object() || config->contains("quantization_config")) {
    return Error{Code::kInvalid, conversion.source + "/" + store::kConfigFile +
                                     ": is no object, or says that the model is quantized already"};
  }
  if (conversion.scheme == Scheme::kInt8) {
    (*config)["quantization_config"] = quantization_config(plans);
  } else {
    (*config)["torch_dtype"] = conversion.scheme == Scheme::kF16 ? "float16" : "bfloat16";
  }
  const std::string path = folder + "/" + store::kConfigFile;
  std::ofstream file(path, std::ios::binary);
  file << config->dump(2) << "\n";
  file.close();
  if (file.fail()) return Error{Code::kUnavailable, path + ": cannot be written"};
  return base::ok();
}

// Weights in whatever format, which the new folder has its own of.
bool is_weights(const std::string& name) {
  constexpr std::array<std::string_view, 9> kEndings = {
      ".safetensors", ".bin", ".onnx", ".h5", ".msgpack", ".pt", ".pth", ".ot", ".gguf"};
  return name == store::kWeightsIndexFile ||
         std::ranges::any_of(kEndings, [&](std::string_view end) { return name.ends_with(end); });
}

// The entries of `folder` in the order of their names.
base::Result<std::vector<fs::directory_entry>> entries_in(const fs::path& folder) {
  std::vector<fs::directory_entry> found;
  std::error_code failure;
  fs::directory_iterator entries(folder, failure);
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure)) {
    found.push_back(*entries);
    if (found.size() > kFilesMax) {
      return Error{Code::kTooLarge, folder.string() + ": has more than " +
                                        std::to_string(kFilesMax) +
                                        " entries: this is no model's folder"};
    }
  }
  if (failure) return broken(folder.string(), failure);
  std::sort(found.begin(), found.end());
  return found;
}

// The plain files of `source` that `wanted` names.
base::Status copy_files(const fs::path& source, const fs::path& target,
                        const std::function<bool(const std::string&)>& wanted) {
  const auto entries = entries_in(source);
  if (!entries) return entries.error();
  for (const fs::directory_entry& entry : *entries) {
    std::error_code failure;
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file(failure) || !wanted(name)) continue;
    if (!fs::copy_file(entry.path(), target / name, failure)) {
      return broken("copying " + entry.path().string(), failure);
    }
  }
  return base::ok();
}

// The other files, and the folders that sentence-transformers keeps a module each in, which have a
// config.json. Their weights are small and stay as they are.
base::Status copy_others(const std::string& source, const std::string& target) {
  base::Status status = copy_files(source, target, [](const std::string& name) {
    return name != store::kConfigFile && name != kReportFile && !is_weights(name);
  });
  if (!status) return status;
  const auto entries = entries_in(source);
  if (!entries) return entries.error();
  for (const fs::directory_entry& entry : *entries) {
    std::error_code failure;
    if (!entry.is_directory(failure) || !fs::exists(entry.path() / store::kConfigFile, failure)) {
      continue;
    }
    const fs::path module = fs::path(target) / entry.path().filename();
    if (!fs::create_directory(module, failure)) return broken(module.string(), failure);
    status = copy_files(entry.path(), module, [](const std::string&) { return true; });
    if (!status) return status;
  }
  return base::ok();
}

// So that a rename after a power cut does not show files that are not there yet.
base::Status sync_folder(const std::string& folder) {
  std::error_code failure;
  fs::recursive_directory_iterator entries(folder, failure);
  std::vector<std::string> paths = {folder};
  for (; !failure && entries != fs::recursive_directory_iterator(); entries.increment(failure)) {
    paths.push_back(entries->path().string());
  }
  if (failure) return broken(folder, failure);
  for (const std::string& path : paths) {
    const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0) {
      return Error{Code::kUnavailable, path + ": " + base::errno_text(errno)};
    }
  }
  return base::ok();
}

base::Result<std::vector<LayerDistance>> fill(const Conversion& conversion,
                                              const std::string& folder) {
  const auto source = FolderTensors::open(conversion.source);
  if (!source) return source.error();
  const auto plans = plan(conversion, *source);
  if (!plans) return plans.error();
  auto writer =
      files::SafetensorsWriter::create(folder + "/" + store::kWeightsFile,
                                       entries_of(*plans, conversion.scheme), {{"format", "pt"}});
  if (!writer) return writer.error();
  std::vector<LayerDistance> distances;
  for (const Plan& plan : *plans) {
    const auto status = write(*source, plan, conversion.scheme, *writer, distances);
    if (!status) return status.error();
  }
  if (const auto status = writer->finish(); !status) return status.error();
  if (const auto status = write_config(conversion, *plans, folder); !status) return status.error();
  if (const auto status = copy_others(conversion.source, folder); !status) return status.error();
  if (const auto status = sync_folder(folder); !status) return status.error();
  sort_worst_first(distances);
  return distances;
}

}  // namespace

base::Result<std::vector<LayerDistance>> convert(const Conversion& conversion) {
  std::error_code failure;
  if (fs::exists(conversion.target, failure)) {
    return Error{Code::kInvalid, conversion.target + ": exists; remove it, or choose another name"};
  }
  const std::string partial = conversion.target + ".partial";
  fs::remove_all(partial, failure);  // of a run that was cut short
  if (failure || !fs::create_directory(partial, failure)) {
    return Error{Code::kUnavailable, partial + ": cannot be made: " + failure.message()};
  }
  auto distances = fill(conversion, partial);
  if (distances) {
    fs::rename(partial, conversion.target, failure);
    if (!failure) return distances;
    distances = broken(conversion.target, failure);
  }
  std::error_code ignored;
  fs::remove_all(partial, ignored);
  return distances;
}

}  // namespace nacelle::quantize
