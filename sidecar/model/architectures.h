// The architectures that this version runs, by the name that config.json gives.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sidecar/files/json.h"
#include "sidecar/model/model.h"

namespace nacelle::model {

// A model's folder and its config.json, as a loader gets them.
struct Folder {
  std::string path;
  std::string config_path;
  files::Json config;
};

// One line of the list in architectures.cc.
struct Architecture {
  std::string_view name;
  base::Result<std::unique_ptr<Model>> (*load)(const Folder& folder, kernels::Backend& backend);
};

// All architectures, by name.
std::span<const Architecture> all_architectures();

// The loaders, one file each: bert.cc.
base::Result<std::unique_ptr<Model>> load_bert(const Folder& folder, kernels::Backend& backend);
base::Result<std::unique_ptr<Model>> load_bert_classifier(const Folder& folder,
                                                          kernels::Backend& backend);

}  // namespace nacelle::model
