// Choosing a backend and a target by name, and saying why not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cpu/targets.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using testing::HasSubstr;

TEST(Backends, TheReferenceIsListedLastAndAlwaysWorks) {
  ASSERT_FALSE(all_backends().empty());
  EXPECT_EQ(all_backends().back().name, "reference");
  const auto backend = create_backend("reference", 3);
  ASSERT_TRUE(backend);
  EXPECT_EQ((*backend)->name(), "reference");
  EXPECT_EQ((*backend)->description(), "reference (plain loops)");
}

TEST(Backends, AForcedTargetIsTheOneThatRuns) {
  for (const BackendEntry& entry : all_backends()) {
    for (const std::string_view target : entry.targets()) {
      const std::string name = std::string(entry.name) + "/" + std::string(target);
      const auto backend = create_backend(name, 1);
      ASSERT_TRUE(backend) << backend.error().message;
      EXPECT_EQ((*backend)->name(), entry.name);
      EXPECT_EQ((*backend)->description(),
                std::string(entry.name) + " (" + std::string(target) + ", 1 thread)");
    }
  }
}

// The description is a name; this is evidence.
TEST(Backends, TwoTargetsDifferInSomeKernel) {
  const auto targets = cpu::all_targets();
  for (std::size_t a = 0; a < targets.size(); ++a) {
    for (std::size_t b = a + 1; b < targets.size(); ++b) {
      const cpu::Target& one = targets[a].target;
      const cpu::Target& other = targets[b].target;
      EXPECT_FALSE(std::ranges::equal(one.linear, other.linear)) << one.name << " " << other.name;
      EXPECT_NE(targets[a].needs, targets[b].needs);
    }
    for (std::size_t f = 0; f < kLinearFormats; ++f) {
      EXPECT_EQ(static_cast<std::size_t>(targets[a].target.linear[f]->layout.format), f);
    }
  }
}

TEST(Backends, AutoTakesTheFirstThatWorksAndItsBestTarget) {
  const auto backend = create_backend("auto", 2);
  ASSERT_TRUE(backend);
  for (const BackendEntry& entry : all_backends()) {
    if (!entry.create({.threads = 2, .target = ""})) continue;
    EXPECT_EQ((*backend)->name(), entry.name);
    if (!entry.targets().empty()) {
      EXPECT_EQ((*backend)->description(),
                std::string(entry.name) + " (" + std::string(entry.targets()[0]) + ", 2 threads)");
    }
    break;
  }
}

TEST(Backends, AnUnknownNameIsNotFoundAndTheErrorListsTheKnown) {
  for (const std::string_view name : {"", "gpu", "cpu2", "CPU", "cpu/", "/avx2", "reference/"}) {
    const auto backend = create_backend(name, 1);
    ASSERT_FALSE(backend) << name;
    EXPECT_EQ(backend.error().code, base::Code::kNotFound);
    EXPECT_THAT(backend.error().message, HasSubstr("\"" + std::string(name) + "\""));
    EXPECT_THAT(backend.error().message, HasSubstr("reference"));
    EXPECT_THAT(backend.error().message, HasSubstr("cpu"));
  }
}

TEST(Backends, AnUnknownTargetIsNotFound) {
  for (const std::string_view name : {"cpu/avx9", "cpu/avx2/x", "cpu/AVX2", "reference/avx2"}) {
    const auto backend = create_backend(name, 1);
    ASSERT_FALSE(backend) << name;
    EXPECT_EQ(backend.error().code, base::Code::kNotFound) << backend.error().message;
  }
}

TEST(Backends, ImpossibleThreadCountsAreRefused) {
  if (all_backends()[0].targets().empty()) GTEST_SKIP() << "this CPU can run no target";
  for (const unsigned threads : {0U, 1025U, 4294967295U}) {
    const auto backend = create_backend("cpu", threads);
    ASSERT_FALSE(backend);
    EXPECT_EQ(backend.error().code, base::Code::kInvalid);
    EXPECT_THAT(backend.error().message, HasSubstr("use 1 to 1024"));
  }
}

// Machines as they are, as sets of features.
constexpr cpu::Features kHaswell = cpu::kAvx2 | cpu::kFma | cpu::kF16c;
constexpr cpu::Features kSkylakeServer =
    kHaswell | cpu::kAvx512f | cpu::kAvx512bw | cpu::kAvx512dq | cpu::kAvx512vl;
constexpr cpu::Features kCascadeLake = kSkylakeServer | cpu::kAvx512Vnni;
constexpr cpu::Features kZen4 = kCascadeLake | cpu::kAvx512Bf16;
constexpr cpu::Features kSapphireRapids =
    kZen4 | cpu::kAvxVnni | cpu::kAmxTile | cpu::kAmxInt8 | cpu::kAmxBf16;

std::string best(cpu::Features features) {
  const auto target = cpu::find_target("", features);
  return target ? (*target)->name : "none";
}

TEST(Targets, TheBestThatTheCpuCanRunIsTaken) {
  EXPECT_EQ(best(kHaswell), "avx2");
  EXPECT_EQ(best(kHaswell | cpu::kAvxVnni), "avx2");
  EXPECT_EQ(best(kSkylakeServer), "avx512");
  EXPECT_EQ(best(kCascadeLake), "avx512vnni");
  EXPECT_EQ(best(kZen4), "avx512bf16");
  EXPECT_EQ(best(kSapphireRapids), "amx");
  EXPECT_EQ(best(cpu::Features{0}), "none");
}

// Whatever single feature is masked away, what is taken needs none that is missing.
TEST(Targets, AMaskedFeatureIsNeverNeeded) {
  for (unsigned bit = 0; bit < cpu::kFeatureCount; ++bit) {
    const cpu::Features masked = kSapphireRapids & ~(1U << bit);
    const auto target = cpu::find_target("", masked);
    for (const cpu::TargetEntry& entry : cpu::all_targets()) {
      if (target && *target == &entry.target) {
        EXPECT_EQ(entry.needs & ~masked, 0U) << "without " << cpu::feature_names(1U << bit);
      }
    }
    EXPECT_EQ(target.has_value(), (kHaswell & ~masked) == 0);
  }
}

TEST(Targets, ATargetThatTheCpuLacksIsUnavailableWithTheReason) {
  const auto target = cpu::find_target("avx512", kHaswell | cpu::kAvx512f);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, base::Code::kUnavailable);
  EXPECT_THAT(target.error().message, HasSubstr("avx512bw, avx512dq, avx512vl"));
  EXPECT_THAT(target.error().message, HasSubstr("can run avx2"));
}

TEST(Targets, AMachineThatCanRunNoneSaysSo) {
  const auto target = cpu::find_target("", 0);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, base::Code::kUnavailable);
  EXPECT_THAT(target.error().message, HasSubstr("can run none"));
}

// CPUID as a machine with everything answers.
constexpr cpu::CpuidBits kAllBits{.leaf1_ecx = ~0U,
                                  .leaf7_ebx = ~0U,
                                  .leaf7_ecx = ~0U,
                                  .leaf7_edx = ~0U,
                                  .leaf7_1_eax = ~0U,
                                  .xcr0 = 0x600E7,
                                  .tiles_permitted = true};

TEST(Features, WhatTheOperatingSystemDoesNotSaveIsNotThere) {
  EXPECT_EQ(cpu::features_from(kAllBits), (1U << cpu::kFeatureCount) - 1);
  cpu::CpuidBits bits = kAllBits;
  bits.tiles_permitted = false;
  EXPECT_EQ(best(cpu::features_from(bits)), "avx512bf16");
  bits.xcr0 = 0xE7;  // no tiles
  EXPECT_EQ(best(cpu::features_from(bits)), "avx512bf16");
  bits.xcr0 = 0x67;  // not all of AVX-512's registers
  EXPECT_EQ(best(cpu::features_from(bits)), "avx2");
  bits.xcr0 = 0x3;  // SSE only
  EXPECT_EQ(cpu::features_from(bits), 0U);
  EXPECT_EQ(cpu::features_from({}), 0U);
}

// Each feature by the bit that Intel's and AMD's manuals give it.
TEST(Features, EachBitOfCpuidIsItsFeature) {
  const auto with = [](auto member, unsigned bit) {
    cpu::CpuidBits bits{.xcr0 = 0x600E7, .tiles_permitted = true};
    bits.*member = 1U << bit;
    return cpu::features_from(bits);
  };
  EXPECT_EQ(with(&cpu::CpuidBits::leaf1_ecx, 12), cpu::kFma);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf1_ecx, 29), cpu::kF16c);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_ebx, 5), cpu::kAvx2);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_ebx, 16), cpu::kAvx512f);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_ebx, 17), cpu::kAvx512dq);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_ebx, 30), cpu::kAvx512bw);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_ebx, 31), cpu::kAvx512vl);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_ecx, 11), cpu::kAvx512Vnni);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_edx, 22), cpu::kAmxBf16);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_edx, 24), cpu::kAmxTile);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_edx, 25), cpu::kAmxInt8);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_1_eax, 4), cpu::kAvxVnni);
  EXPECT_EQ(with(&cpu::CpuidBits::leaf7_1_eax, 5), cpu::kAvx512Bf16);
}

// What this machine's compiler run-time says, where it knows the name.
TEST(Features, ThisMachineIsSeenAsTheCompilerSeesIt) {
  const cpu::Features here = cpu::machine_features();
  EXPECT_EQ((here & cpu::kAvx2) != 0, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ((here & cpu::kFma) != 0, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ((here & cpu::kAvx512f) != 0, __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ((here & cpu::kAvx512bw) != 0, __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ((here & cpu::kAvx512Vnni) != 0, __builtin_cpu_supports("avx512vnni") != 0);
}

}  // namespace
}  // namespace nacelle::kernels
