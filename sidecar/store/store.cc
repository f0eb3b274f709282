// See store.h.
#include "sidecar/store/store.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace nacelle::store {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNamesListed = 20;  // in a message; a store may have hundreds

// Whether a model lies in `folder`; one that may not be read counts as none.
bool holds_model(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kConfigFile, ignored);
}

bool is_path(const std::string& reference) {
  return reference.rfind('/', 0) == 0 || reference.rfind("./", 0) == 0 ||
         reference.rfind("../", 0) == 0;
}

bool is_entry_name(const std::string& name) {
  return !name.empty() && name.size() <= kEntryNameMax && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

std::string listed(const std::vector<std::string>& names) {
  if (names.empty()) return "it has none";
  std::string text = "it has: ";
  for (std::size_t i = 0; i < names.size() && i < kNamesListed; ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kNamesListed) {
    text += " and " + std::to_string(names.size() - kNamesListed) + " more";
  }
  return text;
}

}  // namespace

base::Result<std::vector<std::string>> Store::entries() const {
  std::error_code failure;
  fs::directory_iterator folder(root_, failure);
  std::vector<std::string> names;
  std::size_t seen = 0;
  for (; !failure && folder != fs::directory_iterator(); folder.increment(failure)) {
    if (++seen > kEntriesMax) {
      return base::Error{base::Code::kTooLarge, "the model store " + root_ + " has more than " +
                                                    std::to_string(kEntriesMax) +
                                                    " entries: point `models` at a smaller folder"};
    }
    if (holds_model(folder->path())) names.push_back(folder->path().filename().string());
  }
  if (failure) {
    return base::Error{base::Code::kNotFound, "the model store " + root_ +
                                                  " cannot be read: " + failure.message() +
                                                  "; set the option `models` (NACELLE_MODELS)"};
  }
  std::sort(names.begin(), names.end());
  return names;
}

base::Result<std::string> Store::find(const std::string& reference) const {
  if (is_path(reference)) {
    if (holds_model(reference)) return reference;
    return base::Error{base::Code::kNotFound,
                       "no model at " + reference + ": a model is a folder with " + kConfigFile};
  }
  if (!is_entry_name(reference)) {
    return base::Error{
        base::Code::kInvalid,
        "\"" + reference +
            "\" is no name of a model: an entry of the store is one folder name, and "
            "a path starts with \"/\", \"./\" or \"../\""};
  }
  if (root_.empty()) {
    return base::Error{base::Code::kNotFound,
                       "no model \"" + reference +
                           "\": there is no model store; set the option `models` "
                           "(NACELLE_MODELS) or give the model's path"};
  }
  const fs::path directory = fs::path(root_) / reference;
  if (holds_model(directory)) return directory.string();
  const auto names = entries();
  if (!names) return names.error().in("looking for the model \"" + reference + "\"");
  return base::Error{base::Code::kNotFound,
                     "no model \"" + reference + "\" in " + root_ + "; " + listed(*names)};
}

}  // namespace nacelle::store
