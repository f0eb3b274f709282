// Weights from strangers: right files open, every wrong one is an error that says where.
#include "sidecar/files/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace nacelle::files {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A file of this header and this many bytes of data: 0, 1, 2, ...
std::string file_of(const std::string& header, std::size_t data_size,
                    std::uint64_t length = UINT64_MAX) {
  if (length == UINT64_MAX) length = header.size();
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFFU);
  bytes += header;
  for (std::size_t i = 0; i < data_size; ++i) bytes += static_cast<char>(i & 0xFFU);
  return bytes;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

const std::string kTwo =
    "{\"__metadata__\":{\"format\":\"pt\"},\"a\":" + entry("F32", "[2,1]", "[0,8]") +
    ",\"b\":" + entry("I64", "[]", "[8,16]") + "}";

class SafetensorsFile : public ::testing::Test {
 protected:
  base::Result<Safetensors> open(const std::string& bytes) {
    return Safetensors::open(dir_.write("model.safetensors", bytes));
  }
  // The message of the error that it must give.
  std::string error_of(const std::string& bytes) {
    const auto file = open(bytes);
    if (!file) return file.error().message;
    ADD_FAILURE() << "was accepted";
    return "";
  }

  const testing::TempDir dir_;
};

TEST_F(SafetensorsFile, TensorsAreFoundByName) {
  auto opened = open(file_of(kTwo, 16));
  ASSERT_TRUE(opened) << opened.error().message;
  const Safetensors file = std::move(*opened);  // views outlive the move
  ASSERT_EQ(file.tensors().size(), 2U);
  const TensorView* a = file.find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, "F32");
  EXPECT_EQ(a->shape, (std::vector<std::uint64_t>{2, 1}));
  ASSERT_EQ(a->bytes.size(), 8U);
  EXPECT_EQ(a->bytes[7], std::byte{7});
  EXPECT_EQ(a->file_offset, 8 + kTwo.size());
  const TensorView* b = file.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, "I64");
  EXPECT_TRUE(b->shape.empty());
  EXPECT_EQ(b->bytes[0], std::byte{8});
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.find("__metadata__"), nullptr);
}

TEST_F(SafetensorsFile, WhatTheFormatAllowsIsAccepted) {
  EXPECT_TRUE(open(file_of("{}", 0)));
  EXPECT_TRUE(open(file_of("{}      ", 0)));  // padded with spaces
  EXPECT_TRUE(open(file_of("{\"__metadata__\":{}}", 0)));
  // Tensors without elements take no room, wherever they stand.
  EXPECT_TRUE(open(file_of("{\"e\":" + entry("F32", "[0,7]", "[0,0]") +
                               ",\"a\":" + entry("U8", "[4]", "[0,4]") +
                               ",\"f\":" + entry("F32", "[3,0]", "[4,4]") + "}",
                           4)));
  // Out of the order of the data, and unaligned.
  EXPECT_TRUE(open(file_of(
      "{\"z\":" + entry("U8", "[1]", "[0,1]") + ",\"a\":" + entry("F64", "[1]", "[1,9]") + "}",
      9)));
  // Four bits each.
  EXPECT_TRUE(open(file_of("{\"a\":" + entry("F4", "[2,3]", "[0,3]") + "}", 3)));
}

TEST_F(SafetensorsFile, EveryDtypeHasItsSize) {
  const std::pair<std::string, std::size_t> sizes[] = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
      {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},     {"I32", 4},
      {"F32", 4},  {"U64", 8}, {"I64", 8}, {"F64", 8},     {"C64", 8}};
  for (const auto& [dtype, size] : sizes) {
    const std::string end = std::to_string(3 * size);
    const std::string header = "{\"a\":" + entry(dtype, "[3]", "[0," + end + "]") + "}";
    EXPECT_TRUE(open(file_of(header, 3 * size))) << dtype;
    EXPECT_FALSE(open(file_of(header, 3 * size + 1))) << dtype;
  }
}

TEST_F(SafetensorsFile, EveryTruncationIsAClearError) {
  const std::string whole = file_of(kTwo, 16);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string message = error_of(whole.substr(0, size));
    EXPECT_THAT(message, AllOf(HasSubstr("model.safetensors"),
                               HasSubstr("the file is truncated: download it again")))
        << size;
  }
}

// A flipped bit may give another valid file (a name, a digit of the metadata, a byte of data), but
// never a crash and never a tensor outside of the file.
TEST_F(SafetensorsFile, EveryFlippedByteIsAnErrorOrAValidFile) {
  const std::string whole = file_of(kTwo, 16);
  std::size_t refused = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (const unsigned flip : {0x01U, 0x02U, 0x10U, 0x20U, 0x80U, 0xFFU}) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(static_cast<unsigned char>(bytes[i]) ^ flip);
      const auto file = open(bytes);
      if (!file) {
        EXPECT_THAT(file.error().message, HasSubstr("model.safetensors"));
        ++refused;
        continue;
      }
      std::size_t covered = 0;
      for (const auto& [name, view] : file->tensors()) {
        ASSERT_LE(view.file_offset + view.bytes.size(), bytes.size());
        EXPECT_EQ(
            std::memcmp(view.bytes.data(), bytes.data() + view.file_offset, view.bytes.size()), 0);
        covered += view.bytes.size();
      }
      EXPECT_EQ(covered, 16U) << "byte " << i << " flipped by " << flip;
    }
  }
  EXPECT_GT(refused, whole.size());  // most flips of the header are seen
}

struct Hostile {
  const char* what;
  std::string header;
  std::size_t data_size;
  const char* reason;
};

TEST_F(SafetensorsFile, HostileHeadersAreRefusedWithTheReason) {
  const std::string max = "18446744073709551615";
  const auto one = [](const std::string& body) { return "{\"a\":" + body + "}"; };
  const auto two = [](const std::string& a, const std::string& b) {
    return "{\"a\":" + a + ",\"b\":" + b + "}";
  };
  const std::string good = entry("U8", "[4]", "[0,4]");
  std::string many = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],";
  many += "\"data_offsets\":[0,1]}}";
  const Hostile cases[] = {
      {"overlap", two(good, entry("U8", "[4]", "[2,6]")), 6, "inside the data before it"},
      {"the same place twice", two(good, good), 4, "inside the data before it"},
      {"hole", two(good, entry("U8", "[4]", "[5,9]")), 9, "after a hole"},
      {"hole at the start", one(entry("U8", "[4]", "[1,5]")), 5, "after a hole"},
      {"an empty tensor in a hole", two(good, entry("U8", "[0]", "[6,6]")), 8, "after a hole"},
      {"an empty tensor inside", two(good, entry("U8", "[0]", "[2,2]")), 4, "inside the data"},
      {"bytes behind", one(good), 5, "1 bytes follow the last tensor"},
      {"data without tensors", "{}", 4, "4 bytes follow the last tensor"},
      {"shape overflows", one(entry("F32", "[4294967296,4294967296]", "[0,4]")), 4, "2^64 bits"},
      {"shape overflows to the right size", one(entry("U8", "[2305843009213693952,8,4]", "[0,0]")),
       0, "2^64 bits"},
      {"bits overflow", one(entry("F64", "[2305843009213693952]", "[0,0]")), 0, "2^64 bits"},
      {"largest end", one(entry("U8", "[4]", "[0," + max + "]")), 4, "truncated"},
      {"largest both", one(entry("U8", "[0]", "[" + max + "," + max + "]")), 4, "truncated"},
      {"end beyond 2^64", one(entry("U8", "[4]", "[0,18446744073709551616]")), 4, "data_offsets"},
      {"begin behind end", one(entry("U8", "[4]", "[4,0]")), 4, "end before they begin"},
      {"size differs", one(entry("U8", "[3]", "[0,4]")), 4, "shape and dtype need 3"},
      {"unknown dtype", one(entry("Q4", "[4]", "[0,4]")), 4, "dtype \"Q4\" is not known; known:"},
      {"dtype in small letters", one(entry("u8", "[4]", "[0,4]")), 4, "is not known"},
      {"half a byte", one(entry("F4", "[3]", "[0,1]")), 1, "whole number of bytes"},
      {"negative shape", one(entry("U8", "[-4]", "[0,4]")), 4, "not a whole number"},
      {"negative offset", one(entry("U8", "[4]", "[-1,4]")), 4, "data_offsets"},
      {"float shape", one(entry("U8", "[4.0]", "[0,4]")), 4, "not a whole number"},
      {"float offset", one(entry("U8", "[4]", "[0,4.0]")), 4, "data_offsets"},
      {"exponent", one(entry("U8", "[4e0]", "[0,4]")), 4, "not a whole number"},
      {"three offsets", one(entry("U8", "[4]", "[0,4,4]")), 4, "data_offsets"},
      {"one offset", one(entry("U8", "[4]", "[4]")), 4, "data_offsets"},
      {"offsets as text", one(entry("U8", "[4]", "\"0,4\"")), 4, "data_offsets"},
      {"shape as a number", one(entry("U8", "4", "[0,4]")), 4, "shape is missing"},
      {"nine dimensions", many, 1, "the limit is 8"},
      {"no dtype", one("{\"shape\":[4],\"data_offsets\":[0,4]}"), 4, "dtype is missing"},
      {"no shape", one("{\"dtype\":\"U8\",\"data_offsets\":[0,4]}"), 4, "shape is missing"},
      {"no offsets", one("{\"dtype\":\"U8\",\"shape\":[4]}"), 4, "data_offsets"},
      {"dtype as a number", one("{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}"), 4, "dtype"},
      {"another field", one("{\"x\":1,\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}"), 4,
       "unknown field \"x\""},
      {"an entry that is a list", one("[]"), 0, "not an object"},
      {"an entry that is null", one("null"), 0, "not an object"},
      {"metadata as text", "{\"__metadata__\":\"pt\"}", 0, "__metadata__"},
      {"metadata with a number", "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"},
      {"metadata nested", "{\"__metadata__\":{\"a\":{}}}", 0, "__metadata__"},
      {"a list", "[]", 0, "does not start with '{'"},
      {"a space first", " {}", 0, "does not start with '{'"},
      {"a byte order mark", "\xEF\xBB\xBF{}", 0, "does not start with '{'"},
      {"two documents", "{}{}", 0, "not valid JSON"},
      {"a NUL behind", std::string("{}\0\0", 4), 0, "NUL"},
      {"NaN", one(entry("U8", "[NaN]", "[0,4]")), 4, "not valid JSON"},
      {"a name twice", two(good, good).replace(two(good, good).find("\"b\""), 3, "\"a\""), 4,
       "appears twice"},
      {"a field twice",
       one("{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}"), 4,
       "appears twice"},
      {"a name that is not UTF-8", "{\"\xff\":" + good + "}", 4, "not valid JSON"},
      {"a bomb", "{\"a\":" + std::string(100'000, '['), 0, "deeper than 64"},
  };
  for (const Hostile& hostile : cases) {
    SCOPED_TRACE(hostile.what);
    EXPECT_THAT(error_of(file_of(hostile.header, hostile.data_size)),
                AllOf(HasSubstr("model.safetensors"), HasSubstr(hostile.reason)));
  }
}

TEST_F(SafetensorsFile, HeaderLengthsThatLieAreRefused) {
  EXPECT_THAT(error_of(file_of("{}", 0, 0)), HasSubstr("does not start with '{'"));
  EXPECT_THAT(error_of(file_of("{}", 0, 1)), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(file_of("{}", 0, 7)), HasSubstr("truncated"));
  EXPECT_THAT(error_of(file_of("{}", 0, Safetensors::kHeaderMax)), HasSubstr("truncated"));
  const std::uint64_t lengths[] = {Safetensors::kHeaderMax + 1, 1ULL << 63, (1ULL << 63) - 8,
                                   UINT64_MAX - 1};
  for (const std::uint64_t length : lengths) {
    const auto file = open(file_of("{}", 0, length));
    ASSERT_FALSE(file) << length;
    EXPECT_EQ(file.error().code, base::Code::kTooLarge);
    EXPECT_THAT(file.error().message, HasSubstr(std::to_string(length)));
  }
  EXPECT_FALSE(open(std::string(8, '\xff')));
}

TEST_F(SafetensorsFile, MoreTensorsThanTheLimitAreRefused) {
  std::string header = "{";
  for (std::size_t i = 0; i <= Safetensors::kTensorsMax; ++i) {
    header += "\"" + std::to_string(i) + "\":0,";
  }
  header.back() = '}';
  EXPECT_THAT(error_of(file_of(header, 0)), HasSubstr("the limit is 100000"));
}

TEST_F(SafetensorsFile, ATensorsErrorTellsItsPlaceInTheFile) {
  const std::string header =
      "{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"b\":" + entry("U8", "[4]", "[5,9]") + "}";
  const std::string start = std::to_string(8 + header.size() + 5);
  EXPECT_THAT(error_of(file_of(header, 9)),
              AllOf(HasSubstr("tensor \"b\""), HasSubstr("byte " + start)));
}

TEST(Safetensors, WhatIsNoFileIsAnError) {
  const auto missing = Safetensors::open("/nowhere/model.safetensors");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, base::Code::kNotFound);
  EXPECT_FALSE(Safetensors::open("/tmp"));
}

}  // namespace
}  // namespace nacelle::files
