// Linear layers in bf16 and int8 on every target: against the reference, the same bytes in any
// call, and exact sums. In fp32 they are in conformance_test.cc and invariance_test.cc.
//
// Fenced memory and NaN-filled outputs as there.
#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <array>

#include "kernels/element.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;
using test::Matrix;
using test::Numbers;

// The largest ||out - reference|| / ||reference|| that passes.
struct Bound {
  // Products of bf16 are exact, their sums are chains of n roundings of 2^-24 each, whose errors
  // add up like a random walk: 2^-24 sqrt(4096) = 3.8e-6, doubled by kernels that round twice a
  // step.
  static constexpr double kBf16 = 8e-6;
  // Sums are exact; what is left is a float epilogue (GELU: 2.5e-7 |x|).
  static constexpr double kInt8 = 1e-6;
  // Any output in bf16: half a unit of 2^-8.
  static constexpr double kBf16Out = 4e-3;
};

constexpr std::array<std::uint32_t, 22> kSizes = {1,  2,  3,  4,  5,  7,  8,  9,  15, 16,  17,
                                                  31, 32, 33, 47, 49, 63, 64, 65, 96, 127, 129};

// Rows of one type, as an op takes them.
class Activations {
 public:
  Activations(Numbers& numbers, LinearFormat format, std::uint32_t rows, std::uint32_t width,
              float magnitude)
      : floats_(numbers.array(std::size_t{rows} * width, magnitude)),
        bf16_(format == LinearFormat::kBF16 ? floats_.size() : 0),
        codes_(format == LinearFormat::kInt8 ? floats_.size() : 0),
        scales_(format == LinearFormat::kInt8 ? rows : 0) {
    for (std::size_t i = 0; i < bf16_.size(); ++i) bf16_[i] = bf16_from_float(floats_[i]);
    for (std::size_t r = 0; r < scales_.size(); ++r) {
      scales_[r] = quantize_row(floats_.data() + r * width, width, codes_.data() + r * width);
    }
    rows_ = format == LinearFormat::kF32    ? RowsIn(floats_.data())
            : format == LinearFormat::kBF16 ? RowsIn::bf16(bf16_.data())
                                            : RowsIn::codes(codes_.data(), scales_.data());
  }
  [[nodiscard]] const RowsIn& rows() const { return rows_; }

 private:
  Fenced<float> floats_;
  Fenced<std::uint16_t> bf16_;
  Fenced<std::int8_t> codes_;
  Fenced<float> scales_;
  RowsIn rows_;
};

class LinearNarrow : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend_ = test::make(GetParam());
  std::unique_ptr<Backend> reference_ = test::make("reference");
  Numbers numbers_{20261121};

  struct Case {
    LinearFormat format;
    std::uint32_t rows, inputs, outputs;
    ElementType type = ElementType::kF32;
    float magnitude = 1.0F;
    Activation activation = Activation::kNone;
    bool bias = true;
    bool residual = false;
    bool bf16_out = false;
  };

  static std::vector<float> run(Backend& backend, const LinearWeights& layer, Linear op,
                                bool bf16_out) {
    auto packed = backend.pack(layer);
    CHECK(packed.has_value());
    EXPECT_EQ((*packed)->inputs, layer.weights.columns);
    EXPECT_EQ((*packed)->outputs, layer.weights.rows);
    op.weights = packed->get();
    const std::size_t count = std::size_t{op.rows} * layer.weights.rows;
    std::vector<float> result(count);
    if (bf16_out) {
      Fenced<std::uint16_t> out(count, 0x7FFF);
      op.out = RowsOut::bf16(out.data());
      backend.linear(op);
      EXPECT_TRUE(out.intact());
      for (std::size_t i = 0; i < count; ++i) result[i] = float_from_bf16(out[i]);
    } else {
      Fenced<float> out(count, kNaN);
      op.out = out.data();
      backend.linear(op);
      EXPECT_TRUE(out.intact());
      std::copy_n(out.data(), count, result.data());
    }
    return result;
  }

  void linear(const Case& c) {
    SCOPED_TRACE(testing::Message()
                 << format_name(c.format) << " rows=" << c.rows << " inputs=" << c.inputs
                 << " outputs=" << c.outputs << " type=" << element_name(c.type)
                 << " magnitude=" << c.magnitude << " activation=" << static_cast<int>(c.activation)
                 << " bias=" << c.bias << " residual=" << c.residual << " bf16 out=" << c.bf16_out);
    const float deviation = 1.0F / std::sqrt(static_cast<float>(c.inputs));
    const Matrix weights(numbers_, c.type, c.outputs, c.inputs, deviation);
    Fenced<float> scales(c.outputs);
    for (std::size_t n = 0; n < c.outputs; ++n)
      scales[n] = deviation / (60.0F + static_cast<float>(n % 7));
    const auto bias = numbers_.array(c.outputs, c.magnitude);
    const auto residual = numbers_.array(std::size_t{c.rows} * c.outputs, c.magnitude);
    const Activations in(numbers_, c.format, c.rows, c.inputs, c.magnitude);
    const LinearWeights layer{.weights = weights.tensor(),
                              .bias = c.bias ? bias.data() : nullptr,
                              .scales = c.type == ElementType::kI8 ? scales.data() : nullptr,
                              .format = c.format};
    const Linear op{.in = in.rows(),
                    .weights = nullptr,
                    .out = {},
                    .rows = c.rows,
                    .activation = c.activation,
                    .residual = c.residual ? residual.data() : nullptr};
    const auto out = run(*backend_, layer, op, c.bf16_out);
    const auto expected = run(*reference_, layer, op, false);
    const double bound = c.bf16_out                        ? Bound::kBf16Out
                         : c.format == LinearFormat::kBF16 ? Bound::kBf16
                                                           : Bound::kInt8;
    EXPECT_LE(test::relative_error(out.data(), expected.data(), out.size()), bound);
  }
};

constexpr LinearFormat kLow[] = {LinearFormat::kBF16, LinearFormat::kInt8};

TEST_P(LinearNarrow, LinearOfEverySizeAroundTheTile) {
  for (const LinearFormat format : kLow) {
    for (const std::uint32_t size : kSizes) {
      linear({.format = format, .rows = size, .inputs = 33, .outputs = 49});
      linear({.format = format, .rows = 9, .inputs = 35, .outputs = size, .bf16_out = true});
      linear({.format = format, .rows = 9, .inputs = size, .outputs = 49});
      linear({.format = format, .rows = 33, .inputs = size, .outputs = 33, .bf16_out = true});
    }
  }
}

TEST_P(LinearNarrow, LinearOfLongSums) {
  for (const LinearFormat format : kLow) {
    for (const std::uint32_t inputs : {255U, 256U, 258U, 511U, 768U, 1537U, 3072U, 4096U}) {
      for (const float magnitude : {1e-4F, 1.0F, 60.0F}) {
        linear(
            {.format = format, .rows = 5, .inputs = inputs, .outputs = 50, .magnitude = magnitude});
      }
    }
  }
}

TEST_P(LinearNarrow, LinearOfManyRowsAndPanels) {
  for (const LinearFormat format : kLow) {
    linear({.format = format, .rows = 700, .inputs = 130, .outputs = 97});
    linear({.format = format, .rows = 2, .inputs = 129, .outputs = 1501});
    linear({.format = format, .rows = 0, .inputs = 16, .outputs = 16});
  }
}

TEST_P(LinearNarrow, LinearWithEveryEpilogueAndTypeOfWeights) {
  for (const LinearFormat format : kLow) {
    for (const ElementType type :
         {ElementType::kF32, ElementType::kF16, ElementType::kBF16, ElementType::kI8}) {
      for (const Activation activation :
           {Activation::kNone, Activation::kGelu, Activation::kTanh}) {
        for (const unsigned flags : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U}) {
          linear({.format = format,
                  .rows = 7,
                  .inputs = 67,
                  .outputs = 53,
                  .type = type,
                  .activation = activation,
                  .bias = (flags & 1U) != 0,
                  .residual = (flags & 2U) != 0,
                  .bf16_out = (flags & 4U) != 0});
        }
      }
    }
  }
  // Codes can be dequantized for an fp32 layer, too.
  linear({.format = LinearFormat::kF32,
          .rows = 3,
          .inputs = 40,
          .outputs = 20,
          .type = ElementType::kI8});
}

// With all scales 1 an output is the int32 sum as a float: no bit of it may be lost, whatever the
// codes. The largest sums are those of the extreme codes; 128 is beyond what quantize_row() makes.
TEST_P(LinearNarrow, Int8SumsAreExact) {
  constexpr std::uint32_t kOutputs = 53;
  constexpr std::uint32_t kRows = 19;
  for (const std::uint32_t inputs : {1U, 3U, 64U, 67U, 384U, 3072U, 4099U}) {
    for (const int kind : {0, 1, 2, 3}) {
      Fenced<std::int8_t> codes(std::size_t{kRows} * inputs);
      Fenced<std::int8_t> weights(std::size_t{kOutputs} * inputs);
      const auto any = [&](std::size_t i) {
        if (kind == 0) return static_cast<int>(numbers_.below(256)) - 128;
        if (kind == 1) return i % 3 == 0 ? 127 : -128;
        return kind == 2 ? 127 : -128;
      };
      for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::int8_t>(any(i));
      for (std::size_t i = 0; i < weights.size(); ++i) {
        weights[i] = static_cast<std::int8_t>(any(i + 1));
      }
      Fenced<float> ones(kOutputs, 1.0F);
      const LinearWeights layer{.weights = {.data = weights.data(),
                                            .type = ElementType::kI8,
                                            .rows = kOutputs,
                                            .columns = inputs},
                                .scales = ones.data(),
                                .format = LinearFormat::kInt8};
      const Linear op{.in = RowsIn::codes(codes.data(), ones.data()),
                      .weights = nullptr,
                      .out = {},
                      .rows = kRows};
      const auto out = run(*backend_, layer, op, false);
      for (std::size_t r = 0; r < kRows; ++r) {
        for (std::size_t n = 0; n < kOutputs; ++n) {
          std::int64_t sum = 0;
          for (std::size_t k = 0; k < inputs; ++k) {
            sum += std::int64_t{codes[r * inputs + k]} * weights[n * inputs + k];
          }
          ASSERT_EQ(out[r * kOutputs + n], static_cast<float>(sum))
              << "inputs=" << inputs << " kind=" << kind << " row=" << r << " output=" << n;
        }
      }
    }
  }
}

TEST_P(LinearNarrow, ARowThatIsNoNumberPoisonsItselfAlone) {
  constexpr std::uint32_t kInputs = 70;
  constexpr std::uint32_t kOutputs = 50;
  const Matrix weights(numbers_, ElementType::kF32, kOutputs, kInputs, 0.1F);
  for (const LinearFormat format : kLow) {
    for (const Activation activation : {Activation::kNone, Activation::kGelu, Activation::kTanh}) {
      for (const bool bf16_out : {false, true}) {
        auto floats = numbers_.array(std::size_t{3} * kInputs, 1.0F);
        floats[kInputs + 5] = kNaN;
        Fenced<std::uint16_t> bf16(floats.size());
        Fenced<std::int8_t> codes(floats.size());
        Fenced<float> scales(3);
        backend_->quantize({.in = floats.data(),
                            .out = {bf16.data(), codes.data(), scales.data()},
                            .rows = 3,
                            .width = kInputs});
        const Linear op{.in = format == LinearFormat::kBF16
                                  ? RowsIn::bf16(bf16.data())
                                  : RowsIn::codes(codes.data(), scales.data()),
                        .weights = nullptr,
                        .out = {},
                        .rows = 3,
                        .activation = activation};
        const auto out =
            run(*backend_, {.weights = weights.tensor(), .format = format}, op, bf16_out);
        for (std::size_t i = 0; i < out.size(); ++i) {
          EXPECT_EQ(std::isnan(out[i]), i / kOutputs == 1) << i;
        }
      }
    }
  }
}

// A row's bytes are the same whatever else is in the call, on however many threads.
TEST_P(LinearNarrow, ALinearRowDoesNotSeeItsNeighbours) {
  constexpr std::uint32_t kInputs = 390;
  constexpr std::uint32_t kOutputs = 250;
  constexpr std::uint32_t kRowsMax = 145;
  const Matrix weights(numbers_, ElementType::kF32, kOutputs, kInputs, 0.1F);
  const auto residual = numbers_.array(std::size_t{kRowsMax} * kOutputs, 1.0F);
  for (const LinearFormat format : kLow) {
    const Activations in(numbers_, format, kRowsMax, kInputs, 1.0F);
    const auto from = [&](std::size_t row) {
      RowsIn rows = in.rows();
      rows.data = static_cast<const char*>(rows.data) + row * kInputs * element_size(rows.type);
      if (rows.scales != nullptr) rows.scales += row;
      return rows;
    };
    for (const bool bf16_out : {false, true}) {
      std::vector<unsigned char> expected;
      for (const unsigned threads : {1U, 2U, 5U}) {
        const auto backend = test::make(GetParam(), threads);
        auto packed = backend->pack({.weights = weights.tensor(), .format = format});
        const std::size_t row_size = std::size_t{kOutputs} * (bf16_out ? 2 : 4);
        const auto run_rows = [&](std::size_t first, std::uint32_t rows) {
          Fenced<float> floats(bf16_out ? 0 : std::size_t{rows} * kOutputs, kNaN);
          Fenced<std::uint16_t> halves(bf16_out ? std::size_t{rows} * kOutputs : 0);
          backend->linear({.in = from(first),
                           .weights = packed.value().get(),
                           .out = bf16_out ? RowsOut::bf16(halves.data()) : floats.data(),
                           .rows = rows,
                           .activation = Activation::kGelu,
                           .residual = residual.data() + first * kOutputs});
          std::vector<unsigned char> bytes(rows * row_size);
          std::memcpy(bytes.data(),
                      bf16_out ? static_cast<const void*>(halves.data()) : floats.data(),
                      bytes.size());
          return bytes;
        };
        if (expected.empty()) {
          for (std::size_t row = 0; row < kRowsMax; ++row) {
            const auto bytes = run_rows(row, 1);
            expected.insert(expected.end(), bytes.begin(), bytes.end());
          }
        }
        for (const std::uint32_t rows : {1U, 2U, 7U, 8U, 16U, 17U, 33U, 64U, 145U}) {
          for (const std::uint32_t first : {0U, 1U, 3U, kRowsMax - rows}) {
            if (first + rows > kRowsMax) continue;
            const auto bytes = run_rows(first, rows);
            EXPECT_EQ(std::memcmp(bytes.data(), expected.data() + first * row_size, bytes.size()),
                      0)
                << format_name(format) << " " << rows << " rows from " << first << ", " << threads
                << " threads";
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, LinearNarrow, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

}  // namespace
}  // namespace nacelle::kernels
