// Long texts of every kind take steps in proportion to their length, with every family of
// tokenizers: what is counted are the basic blocks that the tokenizer's own code runs, and what it
// hands to the C library's loops over memory. No clock is involved. Expressions that Oniguruma
// matches are left out: their steps are bounded, not linear.
//
// The library is compiled a second time for this, with -fsanitize-coverage=trace-pc, see
// CMakeLists.txt.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/tokenizer/fixture.h"

namespace {
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): the compiler calls without it
std::uint64_t steps = 0;
constexpr std::size_t kBytesPerStep = 16;  // of a loop over memory
}  // namespace

// The compiler's name for it, and the linker's for what stands before and behind --wrap.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
extern "C" {
void __sanitizer_cov_trace_pc() { ++steps; }
void* __real_memcpy(void* to, const void* from, std::size_t size);
void* __real_memmove(void* to, const void* from, std::size_t size);
void* __real_memchr(const void* in, int byte, std::size_t size);
int __real_memcmp(const void* one, const void* other, std::size_t size);

void* __wrap_memcpy(void* to, const void* from, std::size_t size) {
  steps += size / kBytesPerStep;
  return __real_memcpy(to, from, size);
}
void* __wrap_memmove(void* to, const void* from, std::size_t size) {
  steps += size / kBytesPerStep;
  return __real_memmove(to, from, size);
}
void* __wrap_memchr(const void* in, int byte, std::size_t size) {
  void* const found = __real_memchr(in, byte, size);
  const auto looked =
      found == nullptr
          ? size
          : static_cast<std::size_t>(static_cast<char*>(found) - static_cast<const char*>(in));
  steps += looked / kBytesPerStep;
  return found;
}
int __wrap_memcmp(const void* one, const void* other, std::size_t size) {
  steps += size / kBytesPerStep;
  return __real_memcmp(one, other, size);
}
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)

namespace nacelle::tokenizer {
namespace {

using files::Json;

constexpr std::size_t kSize = std::size_t{1} << 14U;  // bytes
constexpr double kLinear = 2.3;                       // of twice as much text; a square has 4

// The small tokenizer of a family, with a patch of its goldens laid over it.
Json family(const std::string& name, const std::string& patch) {
  const Json goldens = read_golden(data_path("tokenizers/families/" + name + ".json"));
  for (const Json& golden : goldens["cases"]) {
    if (golden["name"] == patch) return merged(goldens["tokenizer"], golden["patch"]);
  }
  ADD_FAILURE() << name << " has no patch " << patch;
  return {};
}

struct Text {
  const char* name;
  const char* part;  // what is repeated
};
constexpr Text kTexts[] = {
    {"one long word", "a"},
    {"one word of many letters", "qwrtzplkjhgfdsyxcvbnmaeiou"},
    {"short words", "a "},
    {"spaces", " "},
    {"punctuation", "!"},
    {"lines", "\n"},
    {"lines and spaces", " \n"},
    {"digits", "1"},
    {"apostrophes", "'"},
    {"contractions", "'re"},
    {"Hangul", "\xEC\x98\x81"},
    {"Hangul letters", "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"},
    {"combining marks", "\xCC\x81"},
    {"marks out of order", "\xCC\x81\xCC\xA7"},
    {"a letter and marks", "e\xCC\x81\xCC\x82"},
    {"family emoji", "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7\xE2\x80\x8D"},
    {"flags", "\xF0\x9F\x87\xB0\xF0\x9F\x87\xB7"},
    {"tone marks", "\xE3\x80\xAF\xE3\x80\xAE"},
    {"a ligature of eighteen letters", "\xEF\xB7\xBA"},
    {"space marks", "\xE2\x96\x81"},
    {"space marks and letters", "a\xE2\x96\x81"},
    {"ideographs", "\xE4\xB8\x80"},
    {"not in any vocabulary", "\xF4\x8F\xBF\xBD"},
    {"the beginning of an added token", "<"},
    {"most of an added token", "<|endoftext"},
    {"NUL", "\0"},
    {"all of it", "ab\xEC\x98\x81 1!"},
};

std::string repeated(const Text& text, std::size_t size) {
  const std::string_view part(text.part, std::max<std::size_t>(1, std::strlen(text.part)));
  std::string whole;
  while (whole.size() < size) whole += part;
  return whole;
}

std::uint64_t steps_of(const Tokenizer& tokenizer, const std::string& text) {
  const std::uint64_t before = steps;
  const auto encoding = tokenizer.encode_plain(text);
  EXPECT_TRUE(encoding) << encoding.error().message;
  EXPECT_TRUE(encoding && tokenizer.decode(encoding->ids, true));
  return steps - before;
}

struct File {
  const char* family;
  const char* patch;
};
class Steps : public ::testing::TestWithParam<File> {};
constexpr File kFiles[] = {
    {"gpt2", "as it is"},
    {"gpt2", "no pattern"},
    {"gpt2", "llama 3"},
    {"gpt2", "qwen 2"},
    {"gpt2", "deepseek"},
    {"gpt2", "nfkc"},
    {"gpt2", "nfkd"},
    {"clip", "as it is"},
    {"llama", "as it is"},
    {"llama", "mistral"},
    {"llama", "gemma"},
    {"llama", "unknown apart"},
    {"llama", "whole words first"},
    {"marked", "as it is"},
    {"marked", "Contiguous 가"},
    {"marked", "digits"},
    {"marked", "nmt"},
    {"marked", "replace with more"},
    {"marked", "ctc"},
    {"roberta", "as it is"},
    {"roberta", "bert"},
    {"xlm-r", "as it is"},
    {"xlm-r", "albert"},
    {"xlm-r", "t5"},
    {"xlm-r", "whole lines"},
    {"xlm-r", "bytes"},
    {"wordpiece", ""},
};
INSTANTIATE_TEST_SUITE_P(Files, Steps, ::testing::ValuesIn(kFiles), [](const auto& named) {
  std::string name = std::string(named.param.family) + "_" + named.param.patch;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name + std::to_string(named.index);
});

TEST_P(Steps, GrowWithTheText) {
  const auto [name, patch] = GetParam();
  const auto tokenizer =
      load_or_die(std::string(name) == "wordpiece" ? small_tokenizer() : family(name, patch));
  double worst = 0;
  for (const Text& text : kTexts) {
    SCOPED_TRACE(text.name);
    steps_of(*tokenizer, repeated(text, kSize));  // tables are made, words are kept
    const auto once = static_cast<double>(steps_of(*tokenizer, repeated(text, kSize)));
    const auto twice = static_cast<double>(steps_of(*tokenizer, repeated(text, 2 * kSize)));
    EXPECT_GE(once, kSize / 16.0) << "the steps are not counted";
    EXPECT_LE(twice, kLinear * once) << once << " steps, then " << twice;
    worst = std::max(worst, twice / once);
  }
  std::printf("twice the text takes %.2f times the steps at most\n", worst);
}

}  // namespace
}  // namespace nacelle::tokenizer
