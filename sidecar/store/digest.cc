// The content digest of a model's folder. See store.h for what is hashed.
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>

#include "sidecar/base/file.h"
#include "sidecar/store/store.h"

namespace nacelle::store {
namespace {

namespace fs = std::filesystem;

// Sorted, so that the order does not depend on the file system.
constexpr std::array kRootFiles = {
    kConfigFile,    "config_sentence_transformers.json", kWeightsFile,   kWeightsIndexFile,
    "modules.json", "sentence_bert_config.json",         kTokenizerFile, "tokenizer_config.json"};

constexpr base::Code kHashFailed = base::Code::kInternal;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    good_ = context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }

  void add(std::span<const std::byte> bytes) {
    std::array<std::byte, 8> size{};
    for (std::size_t i = 0; i < size.size(); ++i) {
      size[i] =
          static_cast<std::byte>((static_cast<std::uint64_t>(bytes.size()) >> (8 * i)) & 0xFF);
    }
    update(size);
    update(bytes);
  }

  base::Result<std::string> hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned size = 0;
    if (!good_ || EVP_DigestFinal_ex(context_.get(), hash.data(), &size) != 1) {
      return base::Error{kHashFailed, "OpenSSL gave no SHA-256"};
    }
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
      text += kDigits[hash[i] >> 4];
      text += kDigits[hash[i] & 15];
    }
    return text;
  }

 private:
  void update(std::span<const std::byte> bytes) {
    good_ = good_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
  }

  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
  bool good_ = false;
};

// The files to hash, as names relative to `directory`.
base::Result<std::vector<std::string>> names_of(const std::string& directory) {
  std::error_code failure;
  std::vector<std::string> names;
  for (const char* name : kRootFiles) {
    if (fs::exists(fs::path(directory) / name, failure)) names.emplace_back(name);
  }
  if (names.empty()) {
    return base::Error{base::Code::kNotFound,
                       "no model at " + directory + ": a model is a folder with " + kConfigFile};
  }
  std::vector<std::string> others;
  std::size_t seen = 0;
  fs::directory_iterator folder(directory, failure);
  for (; !failure && folder != fs::directory_iterator(); folder.increment(failure)) {
    if (++seen > kEntriesMax) {
      return base::Error{base::Code::kTooLarge, directory + " has more than " +
                                                    std::to_string(kEntriesMax) +
                                                    " entries: this is no model's folder"};
    }
    std::error_code ignored;
    const std::string name = folder->path().filename().string();
    if (is_shard(name)) others.push_back(name);
    if (!fs::exists(folder->path() / kConfigFile, ignored)) continue;
    others.push_back(name + "/" + kConfigFile);
    if (fs::exists(folder->path() / kWeightsFile, ignored)) {
      others.push_back(name + "/" + kWeightsFile);
    }
  }
  if (failure) {
    return base::Error{base::Code::kUnavailable, directory + ": " + failure.message()};
  }
  std::sort(others.begin(), others.end());
  names.insert(names.end(), others.begin(), others.end());
  return names;
}

}  // namespace

bool is_shard(std::string_view name) {
  return name.starts_with("model-") && name.ends_with(".safetensors") &&
         name.size() <= kEntryNameMax && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

base::Result<std::string> digest(const std::string& directory) {
  const auto names = names_of(directory);
  if (!names) return names.error();
  Sha256 hash;
  for (const std::string& name : *names) {
    const auto file = base::MappedFile::open((fs::path(directory) / name).string());
    if (!file) return file.error();
    hash.add(std::as_bytes(std::span(name)));
    hash.add(file->bytes());
  }
  return hash.hex();
}

base::Result<std::string> digest_of(std::span<const std::string> texts) {
  Sha256 hash;
  for (const std::string& text : texts) hash.add(std::as_bytes(std::span(text)));
  return hash.hex();
}

}  // namespace nacelle::store
