// THE LIST of instruction sets, best first. To add one: docs/adding/backend.md.
#include "kernels/cpu/targets.h"

#include <array>
#include <string>

namespace nacelle::kernels::cpu {

// avx2.cc
extern const Ops kAvx2Ops;
extern const LinearKernel kAvx2F32;
extern const LinearKernel kAvx2Bf16;
extern const LinearKernel kAvx2Int8;
// avx512.cc
extern const Ops kAvx512Ops;
extern const LinearKernel kAvx512F32;
extern const LinearKernel kAvx512WidenedBf16;
extern const LinearKernel kAvx512WidenedInt8;
// avx512vnni.cc, avx512bf16.cc, amx.cc
extern const LinearKernel kAvx512VnniInt8;
extern const LinearKernel kAvx512DotBf16;
extern const AttentionKernel kAvx512DotAttention;
extern const LinearKernel kAmxTilesBf16;
extern const LinearKernel kAmxTilesInt8;

namespace {

constexpr Features kAvx2Set = kAvx2 | kFma | kF16c;
constexpr Features kAvx512Set = kAvx2Set | kAvx512f | kAvx512bw | kAvx512dq | kAvx512vl;
constexpr Features kAmxSet = kAmxTile | kAmxInt8 | kAmxBf16;

// Linear kernels in the order of LinearFormat: kF32, kBF16, kInt8.
const TargetEntry kTargets[] = {
    {{"amx", &kAvx512Ops, {&kAvx512F32, &kAmxTilesBf16, &kAmxTilesInt8}, nullptr},
     kAvx512Set | kAmxSet},
    {{"avx512bf16",
      &kAvx512Ops,
      {&kAvx512F32, &kAvx512DotBf16, &kAvx512VnniInt8},
      &kAvx512DotAttention},
     kAvx512Set | kAvx512Vnni | kAvx512Bf16},
    {{"avx512vnni", &kAvx512Ops, {&kAvx512F32, &kAvx512WidenedBf16, &kAvx512VnniInt8}, nullptr},
     kAvx512Set | kAvx512Vnni},
    {{"avx512", &kAvx512Ops, {&kAvx512F32, &kAvx512WidenedBf16, &kAvx512WidenedInt8}, nullptr},
     kAvx512Set},
    {{"avx2", &kAvx2Ops, {&kAvx2F32, &kAvx2Bf16, &kAvx2Int8}, nullptr}, kAvx2Set},
};

bool can_run(const TargetEntry& entry, Features features) { return (entry.needs & ~features) == 0; }

std::string usable(Features features) {
  std::string text;
  for (const TargetEntry& entry : kTargets) {
    if (!can_run(entry, features)) continue;
    text += (text.empty() ? "" : ", ") + std::string(entry.target.name);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

std::span<const TargetEntry> all_targets() { return kTargets; }

std::span<const std::string_view> usable_targets() {
  struct Names {
    std::array<std::string_view, std::size(kTargets)> at;
    std::size_t count = 0;
  };
  static const Names names = [] {
    Names found;
    for (const TargetEntry& entry : kTargets) {
      if (can_run(entry, machine_features())) found.at[found.count++] = entry.target.name;
    }
    return found;
  }();
  return {names.at.data(), names.count};
}

base::Result<const Target*> find_target(std::string_view name, Features features) {
  std::string reasons;
  for (const TargetEntry& entry : kTargets) {
    if (!name.empty() && name != entry.target.name) continue;
    if (can_run(entry, features)) return &entry.target;
    reasons += (reasons.empty() ? "" : "; ") + std::string(entry.target.name) +
               " needs what this CPU or its operating system lacks: " +
               feature_names(entry.needs & ~features);
  }
  const std::string choice = "this machine can run " + usable(features);
  if (reasons.empty()) {
    return base::Error{base::Code::kNotFound,
                       "the cpu backend has no target \"" + std::string(name) + "\": " + choice};
  }
  return base::Error{base::Code::kUnavailable, "cpu target " + reasons + "; " + choice};
}

}  // namespace nacelle::kernels::cpu
