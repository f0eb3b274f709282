// Packed weights as bytes: kept, brought back in place, and refused when they are anything else.
#include "kernels/packed_linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/cpu/targets.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using testing::HasSubstr;

constexpr std::uint32_t kInputs = 70;
constexpr std::uint32_t kOutputs = 51;

class Packed : public testing::TestWithParam<std::string> {
 protected:
  // A copy of a layer's bytes, as a file would have them: aligned memory of somebody else.
  struct Copy {
    Buffer memory;
    std::size_t size = 0;
    [[nodiscard]] std::span<const std::byte> bytes() const {
      return {memory.as<std::byte>(), size};
    }
  };
  Copy copy_of(const PackedLinear& packed) {
    Copy copy{backend_->allocate(packed.bytes.size()).value(), packed.bytes.size()};
    std::memcpy(copy.memory.as<std::byte>(), packed.bytes.data(), copy.size);
    return copy;
  }
  std::unique_ptr<PackedLinear> pack(LinearFormat format) {
    auto packed =
        backend_->pack({.weights = weights_.tensor(), .bias = bias_.data(), .format = format});
    CHECK(packed.has_value());
    return *std::move(packed);
  }
  std::string refusal(LinearFormat format, std::uint32_t inputs, std::uint32_t outputs,
                      std::span<const std::byte> bytes) {
    const auto view = backend_->view(format, inputs, outputs, bytes);
    if (view) return "";
    EXPECT_EQ(view.error().code, base::Code::kInvalid);
    return view.error().message;
  }

  std::unique_ptr<Backend> backend_ = test::make(GetParam());
  test::Numbers numbers_{3};
  test::Matrix weights_{numbers_, ElementType::kF32, kOutputs, kInputs, 1.0F};
  test::Fenced<float> bias_ = numbers_.array(kOutputs, 1.0F);
};

constexpr LinearFormat kFormats[] = {LinearFormat::kF32, LinearFormat::kBF16, LinearFormat::kInt8};

TEST_P(Packed, AViewOfTheBytesComputesTheSameWithoutACopy) {
  for (const LinearFormat format : kFormats) {
    const auto packed = pack(format);
    EXPECT_EQ(packed->layout, backend_->layout(format));
    const Copy copy = copy_of(*packed);
    const auto view = backend_->view(format, kInputs, kOutputs, copy.bytes());
    ASSERT_TRUE(view) << view.error().message;
    EXPECT_EQ((*view)->bytes.data(), copy.bytes().data());
    EXPECT_EQ((*view)->memory.size(), 0U);
    const auto* weights = static_cast<const std::byte*>((*view)->weights);
    EXPECT_TRUE(weights > copy.bytes().data() && weights < copy.bytes().data() + copy.size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(weights) % 64, 0U);

    constexpr std::uint32_t kRows = 5;
    const auto in = numbers_.array(std::size_t{kRows} * kInputs, 1.0F);
    test::Fenced<std::uint16_t> bf16(in.size());
    test::Fenced<std::int8_t> codes(in.size());
    test::Fenced<float> scales(kRows);
    backend_->quantize({.in = in.data(),
                        .out = {bf16.data(), codes.data(), scales.data()},
                        .rows = kRows,
                        .width = kInputs});
    test::Fenced<float> out(std::size_t{kRows} * kOutputs);
    test::Fenced<float> expected(std::size_t{kRows} * kOutputs);
    Linear op{.in = format == LinearFormat::kF32    ? RowsIn(in.data())
                    : format == LinearFormat::kBF16 ? RowsIn::bf16(bf16.data())
                                                    : RowsIn::codes(codes.data(), scales.data()),
              .weights = packed.get(),
              .out = expected.data(),
              .rows = kRows};
    backend_->linear(op);
    op.weights = view->get();
    op.out = out.data();
    backend_->linear(op);
    EXPECT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0);
  }
}

TEST_P(Packed, PackingTwiceGivesTheSameBytes) {
  for (const LinearFormat format : kFormats) {
    const auto one = pack(format);
    const auto other = pack(format);
    ASSERT_EQ(one->bytes.size(), other->bytes.size());
    EXPECT_EQ(std::memcmp(one->bytes.data(), other->bytes.data(), one->bytes.size()), 0);
  }
}

TEST_P(Packed, BytesOfAnotherSizePlaceShapeOrLayoutAreRefused) {
  for (const LinearFormat format : kFormats) {
    const Copy copy = copy_of(*pack(format));
    const auto bytes = copy.bytes();
    EXPECT_EQ(refusal(format, kInputs, kOutputs, bytes), "");
    EXPECT_THAT(refusal(format, kInputs, kOutputs, {}), HasSubstr("there are 0 bytes"));
    EXPECT_THAT(refusal(format, kInputs, kOutputs, bytes.first(copy.size - 1)), HasSubstr("bytes"));
    EXPECT_THAT(refusal(format, kInputs, kOutputs + 1, bytes), HasSubstr("70 -> 52"));
    EXPECT_THAT(refusal(format, 0xFFFFFFFFU, 0xFFFFFFFFU, bytes), HasSubstr("bytes"));

    // One bit of the header at a time: whatever it says then is not this layer.
    auto* memory = copy.memory.as<std::byte>();
    for (std::size_t i = 0; i < sizeof(PackedHeader); ++i) {
      memory[i] ^= std::byte{1};
      EXPECT_NE(refusal(format, kInputs, kOutputs, bytes), "") << "byte " << i;
      memory[i] ^= std::byte{1};
    }
    const auto shifted = backend_->allocate(copy.size + 64);
    ASSERT_TRUE(shifted);
    auto* at = shifted->as<std::byte>() + 4;
    std::memcpy(at, bytes.data(), copy.size);
    EXPECT_THAT(refusal(format, kInputs, kOutputs, {at, copy.size}), HasSubstr("multiple of 64"));
  }
}

TEST_P(Packed, AnotherFormatsBytesAreRefused) {
  const Copy copy = copy_of(*pack(LinearFormat::kF32));
  EXPECT_NE(refusal(LinearFormat::kInt8, kInputs, kOutputs, copy.bytes()), "");
  EXPECT_NE(refusal(LinearFormat::kBF16, kInputs, kOutputs, copy.bytes()), "");
}

TEST_P(Packed, Int8SumsThatCouldLeave32BitsAreRefused) {
  const std::vector<std::int8_t> codes(kInt8InputsMax + 1, std::int8_t{-128});
  const float scale = 1.0F;
  LinearWeights layer{.weights = {.data = codes.data(),
                                  .type = ElementType::kI8,
                                  .rows = 1,
                                  .columns = kInt8InputsMax},
                      .scales = &scale,
                      .format = LinearFormat::kInt8};
  const auto packed = backend_->pack(layer);
  ASSERT_TRUE(packed);
  float out = 0;
  backend_->linear({.in = RowsIn::codes(codes.data(), &scale),
                    .weights = packed->get(),
                    .out = &out,
                    .rows = 1});
  EXPECT_EQ(out, static_cast<float>(16384.0 * kInt8InputsMax));

  layer.weights.columns = kInt8InputsMax + 1;
  const auto refused = backend_->pack(layer);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::Code::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("131071"));
}

INSTANTIATE_TEST_SUITE_P(All, Packed, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

// A layout's name is in files: two layouts must not share one, and a name may not hide a change.
TEST(PackedLayouts, OneNameIsOneLayout) {
  for (const cpu::TargetEntry& a : cpu::all_targets()) {
    for (const cpu::TargetEntry& b : cpu::all_targets()) {
      for (std::size_t f = 0; f < kLinearFormats; ++f) {
        const cpu::PanelLayout& one = a.target.linear[f]->layout;
        const cpu::PanelLayout& other = b.target.linear[f]->layout;
        if (std::string_view(one.name) != other.name) continue;
        EXPECT_EQ(one.panel, other.panel);
        EXPECT_EQ(one.lanes, other.lanes);
        EXPECT_EQ(one.group, other.group);
        EXPECT_EQ(one.depth, other.depth);
        EXPECT_EQ(one.offset, other.offset);
      }
    }
  }
}

}  // namespace
}  // namespace nacelle::kernels
