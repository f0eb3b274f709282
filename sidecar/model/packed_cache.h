// Packed layers on disk, so that a model that has been loaded once on this kind of machine is
// loaded again without packing: its layers are used where the file is mapped, and sidecars on one
// machine share the pages.
//
// One file per model and arithmetic, <folder>/<model digest>.<layouts>.safetensors: a tensor of
// bytes per layer, a checksum (XXH3, 64 bits) of each in the metadata. It is only a cache: a file
// that is missing, damaged or of another version is packed anew and replaced; a folder that cannot
// be written costs time, not service.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"
#include "sidecar/files/safetensors.h"

namespace nacelle::model {

class PackedCache {
 public:
  // Without a folder: nothing is found, nothing is stored. `key` names everything that decides the
  // bytes: the model's content and the layouts of the backend.
  PackedCache() = default;
  PackedCache(const std::string& folder, const std::string& key);

  // The layer stored under `name`, as a view into the mapped file, which this object keeps; nullptr
  // when there is none that fits `backend`, or its checksum is wrong.
  std::unique_ptr<kernels::PackedLinear> find(const std::string& name, kernels::LinearFormat format,
                                              std::uint32_t inputs, std::uint32_t outputs,
                                              kernels::Backend& backend);

  // Notes a layer that was packed because find() had none; its bytes must stay until store().
  void add(const std::string& name, std::span<const std::byte> bytes);

  // Writes the file anew, with all layers found and noted, unless those are what it has. The next
  // load finds it whole or not at all.
  base::Status store();

  [[nodiscard]] bool active() const { return !path_.empty(); }

 private:
  std::string path_;
  std::optional<files::Safetensors> file_;
  using Layers = std::map<std::string, std::span<const std::byte>>;
  Layers in_file_;  // whose checksums are right
  Layers wanted_;   // those that this load found or noted
};

}  // namespace nacelle::model
