// See packed_cache.h.
#include "sidecar/model/packed_cache.h"

#define XXH_INLINE_ALL
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sidecar/base/log.h"
#include "sidecar/files/safetensors_writer.h"

namespace nacelle::model {
namespace {

namespace fs = std::filesystem;

// Behind the layers, in the order of their names: 8 bytes each, little-endian.
constexpr char kChecksums[] = "checksums";
constexpr std::size_t kChecksumSize = 8;

std::array<std::byte, kChecksumSize> checksum(std::span<const std::byte> bytes) {
  const std::uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
  std::array<std::byte, kChecksumSize> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(hash >> (8 * i));
  return out;
}

// The layers whose checksums are right.
std::map<std::string, std::span<const std::byte>> sound_layers(const files::Safetensors& file) {
  std::map<std::string, std::span<const std::byte>> layers;
  const files::TensorView* checksums = file.find(kChecksums);
  const std::size_t count = file.tensors().size() - (checksums != nullptr ? 1 : 0);
  if (checksums == nullptr || checksums->bytes.size() != count * kChecksumSize) return layers;
  const std::byte* expected = checksums->bytes.data();
  for (const auto& [name, view] : file.tensors()) {
    if (name == kChecksums) continue;
    const auto got = checksum(view.bytes);
    if (std::memcmp(got.data(), expected, got.size()) == 0) layers.emplace(name, view.bytes);
    expected += kChecksumSize;
  }
  return layers;
}

}  // namespace

PackedCache::PackedCache(const std::string& folder, const std::string& key)
    : path_(folder + "/" + key + ".safetensors") {
  std::error_code ignored;
  if (!fs::exists(path_, ignored)) return;
  auto file = files::Safetensors::open(path_);
  if (!file) {
    base::log_warn("packed weights cannot be used and are made anew",
                   {{"reason", file.error().message}});
    return;
  }
  file_ = std::move(*file);
  in_file_ = sound_layers(*file_);
}

std::unique_ptr<kernels::PackedLinear> PackedCache::find(const std::string& name,
                                                         kernels::LinearFormat format,
                                                         std::uint32_t inputs,
                                                         std::uint32_t outputs,
                                                         kernels::Backend& backend) {
  const auto found = in_file_.find(name);
  if (found == in_file_.end()) return nullptr;
  auto packed = backend.view(format, inputs, outputs, found->second);
  if (!packed) return nullptr;
  wanted_.insert(*found);
  return std::move(*packed);
}

void PackedCache::add(const std::string& name, std::span<const std::byte> bytes) {
  if (active()) wanted_[name] = bytes;
}

base::Status PackedCache::store() {
  const auto same = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.data() == b.second.data();
  };
  const bool is_right = file_ && file_->tensors().size() == wanted_.size() + 1 &&
                        std::ranges::equal(wanted_, in_file_, same);
  if (!active() || is_right) return base::ok();
  std::vector<files::TensorEntry> entries;
  std::vector<std::byte> checksums;
  for (const auto& [name, bytes] : wanted_) {
    entries.push_back({name, "U8", {bytes.size()}});
    const auto sum = checksum(bytes);
    checksums.insert(checksums.end(), sum.begin(), sum.end());
  }
  entries.push_back({kChecksums, "U8", {checksums.size()}});
  // Of this process, so that two sidecars that start at once do not write into one file.
  const std::string partial = path_ + "." + std::to_string(::getpid()) + ".partial";
  std::error_code failure;
  fs::create_directories(fs::path(path_).parent_path(), failure);
  fs::remove(partial, failure);
  const auto write = [&]() -> base::Status {
    auto writer = files::SafetensorsWriter::create(partial, entries, {});
    if (!writer) return writer.error();
    for (const auto& [name, bytes] : wanted_) {
      if (const auto status = writer->append(bytes); !status) return status;
    }
    if (const auto status = writer->append(checksums); !status) return status;
    return writer->finish();
  };
  base::Status status = write();
  if (status) {
    fs::rename(partial, path_, failure);
    if (!failure) return base::ok();
    status = base::Error{base::Code::kUnavailable, path_ + ": " + failure.message()};
  }
  fs::remove(partial, failure);
  return status;
}

}  // namespace nacelle::model
