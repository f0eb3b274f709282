// Loading: which architecture a folder holds, and what all of them need beside their weights.
#include "sidecar/model/model.h"

#include <cstddef>
#include <utility>

#include "sidecar/files/json.h"
#include "sidecar/model/architectures.h"
#include "sidecar/store/store.h"

namespace nacelle::model {
namespace {

constexpr std::size_t kConfigSizeMax = 1 << 20;  // bytes; thousands of labels fit

// The only entry of config.json's "architectures".
base::Result<const Architecture*> find_architecture(const Folder& folder) {
  const auto refuse = [&](const std::string& problem) {
    std::string known;
    for (const Architecture& entry : all_architectures()) {
      known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    return base::Error{base::Code::kInvalid, folder.config_path + ": architectures: " + problem +
                                                 "; this version knows " + known};
  };
  if (!folder.config.is_object()) return refuse("the file is not a JSON object");
  const auto names = folder.config.find("architectures");
  if (names == folder.config.end() || !names->is_array() || names->size() != 1 ||
      !names->front().is_string()) {
    return refuse("must be a list of one name");
  }
  const auto& name = names->front().get_ref<const std::string&>();
  for (const Architecture& entry : all_architectures()) {
    if (entry.name == name) return &entry;
  }
  return refuse(files::in_quotes(name) + " is not known");
}

}  // namespace

base::Result<std::unique_ptr<Model>> load(const std::string& directory, kernels::Backend& backend) {
  const std::string config_path = directory + "/" + store::kConfigFile;
  auto config = files::read_json(config_path, kConfigSizeMax);
  if (!config) return config.error();
  const Folder folder{.path = directory, .config_path = config_path, .config = std::move(*config)};
  const auto architecture = find_architecture(folder);
  if (!architecture) return architecture.error();
  return (*architecture)->load(folder, backend);
}

}  // namespace nacelle::model
