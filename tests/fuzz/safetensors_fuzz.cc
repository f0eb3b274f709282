// Fuzzes the reader of weight files. What it accepts must be what the format says: every tensor
// inside the file, as large as its shape, and none over another.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/base/fd.h"
#include "sidecar/files/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace nacelle::fuzz {
namespace {

__extension__ typedef unsigned __int128 Wide;

std::string path_of(const base::Fd& file) { return "/proc/self/fd/" + std::to_string(file.get()); }

void check_tensors(const files::Safetensors& file) {
  const std::span<const std::byte> all = file.file_bytes();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
  unsigned sum = 0;
  for (const auto& [name, view] : file.tensors()) {
    CHECK(file.find(name) == &view);
    CHECK(view.shape.size() <= files::Safetensors::kDimensionsMax);
    CHECK(view.file_offset <= all.size() && view.bytes.size() <= all.size() - view.file_offset);
    CHECK(view.bytes.empty() || view.bytes.data() == all.data() + view.file_offset);
    // 1 to 64 bits an element; the product cannot overflow, or the file would be larger.
    Wide elements = 1;
    for (const std::uint64_t dimension : view.shape) elements *= dimension;
    CHECK(elements <= Wide{view.bytes.size()} * 8);
    CHECK(Wide{view.bytes.size()} <= elements * 8);
    if (!view.bytes.empty()) extents.emplace_back(view.file_offset, view.bytes.size());
    for (const std::byte byte : view.bytes) sum += std::to_integer<unsigned>(byte);
  }
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 1; i < extents.size(); ++i) {
    CHECK(extents[i].first == extents[i - 1].first + extents[i - 1].second);
  }
  CHECK(sum <= all.size() * 255);
}

}  // namespace
}  // namespace nacelle::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nacelle;
  const base::Fd file(::memfd_create("fuzz", MFD_CLOEXEC));
  CHECK(file && ::write(file.get(), data, size) == static_cast<ssize_t>(size));
  const auto opened = files::Safetensors::open(fuzz::path_of(file));
  if (opened) {
    fuzz::check_tensors(*opened);
  } else {
    CHECK(!opened.error().message.empty());
  }
  return 0;
}
