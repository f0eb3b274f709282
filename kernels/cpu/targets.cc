// THE LIST of instruction sets, best first. To add one: docs/adding/backend.md.
#include "kernels/cpu/targets.h"

#include <cpuid.h>

#include <array>
#include <string>

namespace nacelle::kernels::cpu {

extern const Target kAvx512;  // avx512.cc
extern const Target kAvx2;    // avx2.cc

namespace {

struct Feature {
  const char* name;
  bool present;
};

// __builtin_cpu_supports asks CPUID for the feature, and XGETBV whether the operating system saves
// the registers it needs. Family and model numbers are never looked at: hypervisors mask them.
#define FEATURE(name) \
  Feature { name, __builtin_cpu_supports(name) != 0 }  // wants a literal

// clang 14's __builtin_cpu_supports does not know the name. Its registers are AVX2's, which is
// asked for beside it.
Feature f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return {"f16c", __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0};
}

std::string missing(std::span<const Feature> features) {
  std::string names;
  for (const Feature& feature : features) {
    if (!feature.present) names += (names.empty() ? "" : ", ") + std::string(feature.name);
  }
  return names;
}

std::string avx512_missing() {
  const Feature needs[] = {FEATURE("avx512f"),
                           FEATURE("avx512bw"),
                           FEATURE("avx512dq"),
                           FEATURE("avx512vl"),
                           FEATURE("avx2"),
                           FEATURE("fma"),
                           f16c()};
  return missing(needs);
}

std::string avx2_missing() {
  const Feature needs[] = {FEATURE("avx2"), FEATURE("fma"), f16c()};
  return missing(needs);
}

#undef FEATURE

constexpr TargetEntry kTargets[] = {
    {.target = &kAvx512, .missing = avx512_missing},
    {.target = &kAvx2, .missing = avx2_missing},
};

std::string usable(std::span<const TargetEntry> targets) {
  std::string text;
  for (const TargetEntry& entry : targets) {
    if (!entry.missing().empty()) continue;
    text += (text.empty() ? "" : ", ") + std::string(entry.target->name);
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
      if (entry.missing().empty()) found.at[found.count++] = entry.target->name;
    }
    return found;
  }();
  return {names.at.data(), names.count};
}

base::Result<const Target*> find_target(std::string_view name,
                                        std::span<const TargetEntry> targets) {
  std::string reasons;
  for (const TargetEntry& entry : targets) {
    if (!name.empty() && name != entry.target->name) continue;
    const std::string lacks = entry.missing();
    if (lacks.empty()) return entry.target;
    reasons += (reasons.empty() ? "" : "; ") + std::string(entry.target->name) +
               " needs what this CPU or its operating system lacks: " + lacks;
  }
  const std::string choice = "this machine can run " + usable(targets);
  if (reasons.empty()) {
    return base::Error{base::Code::kNotFound,
                       "the cpu backend has no target \"" + std::string(name) + "\": " + choice};
  }
  return base::Error{base::Code::kUnavailable, "cpu target " + reasons + "; " + choice};
}

}  // namespace nacelle::kernels::cpu
