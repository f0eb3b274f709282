// The digest of a model folder: its format, which files count, and which do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <filesystem>
#include <fstream>

#include "sidecar/store/store.h"
#include "tests/support/temp_dir.h"

namespace nacelle::store {
namespace {

namespace fs = std::filesystem;

class DigestTest : public ::testing::Test {
 protected:
  DigestTest() {
    write("config.json", "{}");
    write("model.safetensors", "weights");
    write("tokenizer.json", "[]");
  }
  void write(const std::string& name, const std::string& content) const {
    folder_.write(name, content);
  }
  [[nodiscard]] std::string digest_now() const {
    const auto result = digest(root_.string());
    if (!result) ADD_FAILURE() << result.error().message;
    return result ? *result : "";
  }

  testing::TempDir folder_;
  fs::path root_ = folder_.path();
};

std::string with_length(const std::string& bytes) {
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) out += static_cast<char>((bytes.size() >> (8 * i)) & 0xFF);
  return out + bytes;
}

// The format of store.h, built by hand.
TEST_F(DigestTest, IsTheHashOfLengthPrefixedNamesAndContents) {
  write("1_Pooling/config.json", "{\"a\": 1}");
  std::string bytes;
  for (const auto& [name, content] :
       {std::pair{"config.json", "{}"}, std::pair{"model.safetensors", "weights"},
        std::pair{"tokenizer.json", "[]"}, std::pair{"1_Pooling/config.json", "{\"a\": 1}"}}) {
    bytes += with_length(name) + with_length(content);
  }
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  std::string hex;
  for (const unsigned char byte : hash) {
    char pair[3];
    std::snprintf(pair, sizeof pair, "%02x", unsigned{byte});
    hex += pair;
  }
  EXPECT_EQ(digest_now(), hex);
}

TEST_F(DigestTest, EveryFileThatDecidesAnswersCounts) {
  std::string before = digest_now();
  for (const std::string name :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"}) {
    write(name, "something else");
    const std::string after = digest_now();
    EXPECT_NE(after, before) << name;
    before = after;
  }
}

TEST_F(DigestTest, OtherFilesDoNotCount) {
  const std::string before = digest_now();
  write("README.md", "words");
  write("LICENSE", "more words");
  write("onnx/model.onnx", "another format");
  EXPECT_EQ(digest_now(), before);
}

TEST_F(DigestTest, BytesMovedFromOneFileToTheNextCount) {
  const std::string before = digest_now();
  write("model.safetensors", "weight");
  write("tokenizer.json", "s[]");
  EXPECT_NE(digest_now(), before);
}

TEST_F(DigestTest, OfNothingIsNotFound) {
  const auto result = digest((root_ / "nowhere").string());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, base::Code::kNotFound);
}

}  // namespace
}  // namespace nacelle::store
