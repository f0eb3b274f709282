// What the writer writes, the reader reads; and the bytes are always the same.
#include "sidecar/files/safetensors_writer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "sidecar/base/file.h"
#include "sidecar/files/safetensors.h"
#include "tests/support/temp_dir.h"

namespace nacelle::files {
namespace {

class WriterTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path() + "/" + name; }

  void write(const std::string& name) {
    const std::vector<TensorEntry> entries = {{"b", "F32", {2, 3}},
                                              {"a \"quoted\" 이름", "I8", {5}},
                                              {"empty", "F16", {0, 4}},
                                              {"x", "BF16", {}}};
    auto writer = SafetensorsWriter::create(path(name), entries, {{"format", "pt"}});
    ASSERT_TRUE(writer) << writer.error().message;
    const std::vector<float> floats = {1, 2, 3, 4, 5, 6};
    ASSERT_TRUE(writer->append(std::as_bytes(std::span(floats))));
    const std::string bytes = "12345";
    ASSERT_TRUE(writer->append(std::as_bytes(std::span(bytes))));
    ASSERT_TRUE(writer->append({}));
    const std::uint16_t one = 0x3F80;
    ASSERT_TRUE(writer->append(std::as_bytes(std::span(&one, 1))));
    ASSERT_TRUE(writer->finish());
  }

  testing::TempDir dir_;
};

TEST_F(WriterTest, TheReaderReadsIt) {
  write("one");
  const auto file = Safetensors::open(path("one"));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors().size(), 4U);
  const TensorView* b = file->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, "F32");
  EXPECT_EQ(b->shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(b->file_offset % 64, 0U);
  float last = 0;
  std::memcpy(&last, b->bytes.data() + 20, sizeof last);
  EXPECT_EQ(last, 6);
  const TensorView* a = file->find("a \"quoted\" 이름");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(std::memcmp(a->bytes.data(), "12345", 5), 0);
}

TEST_F(WriterTest, TheBytesDependOnTheArgumentsAlone) {
  write("one");
  write("two");
  const auto one = base::read_file(path("one"), 1 << 20);
  ASSERT_TRUE(one);
  EXPECT_EQ(*one, *base::read_file(path("two"), 1 << 20));
}

TEST_F(WriterTest, SaysWhatIsWrong) {
  const auto code = [&](const std::vector<TensorEntry>& entries) {
    const auto writer = SafetensorsWriter::create(path("new"), entries, {});
    return writer ? base::Code::kOk : writer.error().code;
  };
  EXPECT_EQ(code({{"a", "F31", {1}}}), base::Code::kInvalid);
  EXPECT_EQ(code({{"a", "I8", {1}}, {"a", "I8", {1}}}), base::Code::kInvalid);
  EXPECT_EQ(code({{"a", "F32", {1ULL << 40, 1ULL << 40}}}), base::Code::kInvalid);
  EXPECT_EQ(code({{"a", "I8", {1ULL << 63}}, {"b", "I8", {1ULL << 63}}}), base::Code::kInvalid);
  EXPECT_FALSE(base::read_file(path("new"), 100));  // nothing was left behind

  auto writer = SafetensorsWriter::create(path("new"), {{"a", "I8", {2}}}, {});
  ASSERT_TRUE(writer);
  const std::string bytes = "abc";
  EXPECT_FALSE(writer->append(std::as_bytes(std::span(bytes))));
  EXPECT_FALSE(writer->finish());
  ASSERT_TRUE(writer->append(std::as_bytes(std::span(bytes).first(2))));
  EXPECT_FALSE(writer->append({}));
  EXPECT_TRUE(writer->finish());
  const auto again = SafetensorsWriter::create(path("new"), {}, {});
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("EEXIST"), std::string::npos);
}

}  // namespace
}  // namespace nacelle::files
