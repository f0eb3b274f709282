// Rows in bf16 and int8, to the bit: from the op of its own, and beside the rows of other ops.
#include "kernels/quantize.h"

#include <gtest/gtest.h>

#include "kernels/element.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;
using test::Matrix;
using test::Numbers;

class Quantized : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend_ = test::make(GetParam());
  Numbers numbers_{20261123};
};

// To the bit, in every kind of row.
TEST_P(Quantized, QuantizedRowsAreThoseOfTheRule) {
  for (const std::uint32_t width :
       {1U, 2U, 7U, 8U, 15U, 16U, 17U, 31U, 33U, 64U, 65U, 384U, 1537U}) {
    constexpr std::uint32_t kRows = 14;
    Fenced<float> in(std::size_t{kRows} * width);
    const float magnitudes[kRows] = {1.0F, 60.0F,    1e-4F,     1e30F,     3e38F,    1e-20F, 1e-30F,
                                     0.0F, 0x1p-99F, 0x1p-101F, 0x1p-140F, INFINITY, kNaN,   1.0F};
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t i = 0; i < width; ++i) {
        const float x = static_cast<float>(numbers_.below(2000)) / 1000.0F - 1.0F;
        in[r * width + i] = std::isfinite(magnitudes[r]) ? x * magnitudes[r] : x;
      }
      if (!std::isfinite(magnitudes[r])) in[r * width + width / 2] = -magnitudes[r];
      // Halves, which go to the even side: the largest is 127, so each code is its number.
      if (r == kRows - 1) {
        for (std::size_t i = 0; i < width; ++i) {
          in[r * width + i] = static_cast<float>(static_cast<int>(i % 251) - 125) + 0.5F;
        }
        in[r * width] = 127.0F;
      }
    }
    Fenced<std::uint16_t> bf16(in.size());
    Fenced<std::int8_t> codes(in.size());
    Fenced<float> scales(kRows, 7.0F);
    Fenced<std::int8_t> expected(in.size());
    const Narrowed out{bf16.data(), codes.data(), scales.data()};
    const auto check = [&](const char* what) {
      for (std::size_t r = 0; r < kRows; ++r) {
        const float scale = quantize_row(in.data() + r * width, width, expected.data() + r * width);
        EXPECT_EQ(std::bit_cast<std::uint32_t>(scales[r]), std::bit_cast<std::uint32_t>(scale))
            << what << " row " << r << " of width " << width;
      }
      for (std::size_t i = 0; i < in.size(); ++i) {
        ASSERT_EQ(codes[i], expected[i]) << what << " " << in[i] << " in row " << i / width;
        ASSERT_EQ(bf16[i], bf16_from_float(in[i])) << what << " " << in[i];
      }
      EXPECT_TRUE(bf16.intact() && codes.intact() && scales.intact());
    };
    backend_->quantize({.in = in.data(), .out = out, .rows = kRows, .width = width});
    check("floats");
    // The same from bf16.
    Fenced<std::uint16_t> narrow(in.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      narrow[i] = bf16_from_float(in[i]);
      in[i] = float_from_bf16(narrow[i]);
    }
    backend_->quantize(
        {.in = RowsIn::bf16(narrow.data()), .out = out, .rows = kRows, .width = width});
    check("bf16");
  }
  backend_->quantize({.in = static_cast<const float*>(nullptr), .out = {}, .rows = 0, .width = 8});
}

TEST_P(Quantized, Bf16RoundsToTheNearestEven) {
  // Around a tie, at the ends of the range, and with the bits that carry into the exponent.
  const std::uint32_t bits[] = {0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x3FFFFFFF,
                                0x7F7FFFFF, 0x7F7F7FFF, 0x00000001, 0x00008000, 0x00018000,
                                0x80000000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x7FC00000,
                                0x007FFFFF, 0xBF808000};
  const std::uint16_t expected[] = {0x3F80, 0x3F82, 0x3F80, 0x3F81, 0x4000, 0x7F80,
                                    0x7F7F, 0x0000, 0x0000, 0x0002, 0x8000, 0xFF80,
                                    0x7FC0, 0xFFFF, 0x7FC0, 0x0080, 0xBF80};
  constexpr std::uint32_t kCount = std::size(bits);
  Fenced<float> in(kCount);
  Fenced<std::uint16_t> out(kCount);
  for (std::size_t i = 0; i < kCount; ++i) in[i] = std::bit_cast<float>(bits[i]);
  backend_->quantize({.in = in.data(), .out = {.bf16 = out.data()}, .rows = 1, .width = kCount});
  for (std::size_t i = 0; i < kCount; ++i) EXPECT_EQ(out[i], expected[i]) << std::hex << bits[i];
}

// The narrow copies of an op are those of its own output.
TEST_P(Quantized, NormsLeaveTheirRowsNarrowToo) {
  for (const std::uint32_t width : {1U, 15U, 16U, 33U, 384U, 391U}) {
    constexpr std::uint32_t kRows = 23;
    const std::size_t count = std::size_t{kRows} * width;
    const auto gamma = numbers_.array(width, 1.0F);
    const auto beta = numbers_.array(width, 1.0F);
    Fenced<float> out(count);
    Fenced<std::uint16_t> bf16(count);
    Fenced<std::int8_t> codes(count);
    Fenced<float> scales(kRows);
    Fenced<std::int8_t> expected(count);
    const Narrowed narrowed{bf16.data(), codes.data(), scales.data()};
    const auto check = [&] {
      for (std::size_t r = 0; r < kRows; ++r) {
        EXPECT_EQ(scales[r],
                  quantize_row(out.data() + r * width, width, expected.data() + r * width));
      }
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(codes[i], expected[i]) << i;
        ASSERT_EQ(bf16[i], bf16_from_float(out[i])) << i;
      }
      EXPECT_TRUE(bf16.intact() && codes.intact() && scales.intact());
    };

    const auto in = numbers_.array(count, 1.0F);
    backend_->layer_norm({.in = in.data(),
                          .gamma = gamma.data(),
                          .beta = beta.data(),
                          .out = out.data(),
                          .rows = kRows,
                          .width = width,
                          .epsilon = 1e-12F,
                          .narrowed = narrowed});
    check();

    const Matrix words(numbers_, ElementType::kF32, 9, width, 1.0F);
    const Matrix positions(numbers_, ElementType::kF32, kRows, width, 1.0F);
    const auto offsets = test::offsets_of({20, 0, 3});
    Fenced<std::uint32_t> ids(kRows, 3);
    backend_->embed({.ids = ids.data(),
                     .types = nullptr,
                     .offsets = offsets.data(),
                     .words = words.tensor(),
                     .positions = positions.tensor(),
                     .types_table = words.tensor(),
                     .gamma = gamma.data(),
                     .beta = beta.data(),
                     .out = out.data(),
                     .sequences = 3,
                     .width = width,
                     .epsilon = 1e-12F,
                     .narrowed = narrowed});
    check();
  }
}

INSTANTIATE_TEST_SUITE_P(All, Quantized, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

}  // namespace
}  // namespace nacelle::kernels
