// Regular expressions by Oniguruma, the library that Hugging Face's tokenizers use for them: the
// same syntax, the same tables of Unicode, the same leftmost match.
//
// A hostile expression can take exponential time on a hostile text, and quadratic time without a
// step back. So a match stops after a number of steps back, a long text is tried character by
// character, and all of a text's matches have so much processor time. Nothing of it is met by
// expressions that people write for their tokenizers.
#include <oniguruma.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <mutex>

#include "sidecar/base/check.h"
#include "sidecar/base/time.h"
#include "sidecar/tokenizer/split.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::size_t kRegexSizeMax = 4096;  // bytes of all expressions of a file
// Steps back of one search, and entries of the matcher's stack, which a step may look through:
// natural expressions need a few for each character of a word. Together they bound a search to
// about a second.
constexpr unsigned long kStepsMax = 100'000;
constexpr unsigned int kStackMax = 16'384;
constexpr unsigned int kDepthMax = 250;          // of parentheses
constexpr std::size_t kWholeMax = 4096;          // bytes that the library searches in one go
constexpr unsigned int kClockEvery = 16;         // searches between two looks at the clock
constexpr base::Nanos kTimeMax = base::kSecond;  // of a text, and of each MiB of it

base::Nanos processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<base::Nanos>(time.tv_sec) * base::kSecond + time.tv_nsec;
}

// What the searches of a thread have used of a text's time.
class Clock {
 public:
  void start(std::size_t size) {
    limit_ = kTimeMax + static_cast<base::Nanos>(size >> 20U) * kTimeMax;
    searches_ = 0;
    begin_ = 0;
  }
  // Called before each search.
  bool is_over() {
    if (searches_++ % kClockEvery != 0) return false;
    const base::Nanos now = processor_time();
    if (begin_ == 0) begin_ = now;
    return now - begin_ > limit_;
  }

 private:
  base::Nanos limit_ = kTimeMax;
  base::Nanos begin_ = 0;  // of the first search; 0: there was none
  unsigned int searches_ = 0;
};

thread_local Clock clock_of_text;

void prepare_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    CHECK(onig_initialize(encodings, 1) == ONIG_NORMAL);
    onig_set_parse_depth_limit(kDepthMax);
  });
}

const OnigUChar* bytes_of(std::string_view text) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the library's bytes are unsigned
  return reinterpret_cast<const OnigUChar*>(text.data());
}

class Regex final : public Pattern {
 public:
  static base::Result<std::unique_ptr<Pattern>> make(const Section& section,
                                                     std::string_view regex) {
    if (regex.size() > kRegexSizeMax) {
      return section.error("Regex", "is longer than " + std::to_string(kRegexSizeMax) + " bytes");
    }
    prepare_library();
    auto result = std::make_unique<Regex>();
    OnigErrorInfo info{};
    regex_t* compiled = nullptr;
    const int code = onig_new(&compiled, bytes_of(regex), bytes_of(regex) + regex.size(),
                              ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
    if (code != ONIG_NORMAL) {
      OnigUChar words[ONIG_MAX_ERROR_MESSAGE_LEN];
      const int size = onig_error_code_to_str(words, code, &info);
      return section.error("Regex", files::in_quotes(regex) + " is not valid: " +
                                        std::string(words, words + (size > 0 ? size : 0)));
    }
    result->regex_.reset(compiled);
    return std::unique_ptr<Pattern>(std::move(result));
  }

  [[nodiscard]] Answer find(std::string_view text, std::size_t from, std::size_t last_end,
                            Match& match) const override {
    while (from <= text.size()) {
      if (clock_of_text.is_over()) return Answer::kTooSlow;
      // The library's own search cannot be told to pause, and is quick where the end is near.
      const int place = text.size() - from <= kWholeMax ? search(text, from) : match_at(text, from);
      if (place >= 0) {
        const OnigRegion& region = *this_threads().region;
        match = {.begin = static_cast<std::size_t>(region.beg[0]),
                 .end = static_cast<std::size_t>(region.end[0])};
        if (match.end != match.begin || match.end != last_end) return Answer::kFound;
        // An empty match behind the last one: look one character on.
        from = match.end;
      } else if (place != ONIG_MISMATCH) {
        return Answer::kTooSlow;
      } else if (text.size() - from <= kWholeMax) {
        return Answer::kNone;
      }
      if (from == text.size()) return Answer::kNone;
      skip(text, from);
    }
    return Answer::kNone;
  }

 private:
  // What a search needs beside the expression.
  struct Workplace {
    struct FreeRegion {
      void operator()(OnigRegion* one) const { onig_region_free(one, 1); }
    };
    struct FreeLimits {
      void operator()(OnigMatchParam* one) const { onig_free_match_param(one); }
    };
    std::unique_ptr<OnigRegion, FreeRegion> region{onig_region_new()};
    std::unique_ptr<OnigMatchParam, FreeLimits> limits{onig_new_match_param()};

    Workplace() {
      onig_initialize_match_param(limits.get());
      onig_set_retry_limit_in_match_of_match_param(limits.get(), kStepsMax);
      // Each character that no match starts at is a step.
      onig_set_retry_limit_in_search_of_match_param(limits.get(), kStepsMax + 4 * kWholeMax);
      onig_set_match_stack_limit_size_of_match_param(limits.get(), kStackMax);
    }
  };
  static const Workplace& this_threads() {
    thread_local const Workplace workplace;
    return workplace;
  }

  // Both return the offset of a match, which the thread's region has, or the library's code.
  [[nodiscard]] int search(std::string_view text, std::size_t from) const {
    const Workplace& workplace = this_threads();
    const OnigUChar* const begin = bytes_of(text);
    const OnigUChar* const end = begin + text.size();
    return onig_search_with_param(regex_.get(), begin, end, begin + from, end,
                                  workplace.region.get(), ONIG_OPTION_NONE, workplace.limits.get());
  }
  [[nodiscard]] int match_at(std::string_view text, std::size_t at) const {
    const Workplace& workplace = this_threads();
    const OnigUChar* const begin = bytes_of(text);
    const OnigUChar* const end = begin + text.size();
    const int size =
        onig_match_with_param(regex_.get(), begin, end, begin + at, workplace.region.get(),
                              ONIG_OPTION_NONE, workplace.limits.get());
    return size < 0 ? size : static_cast<int>(at);
  }

  struct Free {
    void operator()(regex_t* regex) const { onig_free(regex); }
  };
  std::unique_ptr<regex_t, Free> regex_;
};

// Bytes of the expressions in `json`, which is at most files::kJsonDepthMax deep.
// NOLINTNEXTLINE(misc-no-recursion)
std::size_t size_of_regexes(const files::Json& json) {
  std::size_t size = 0;
  for (const auto& [key, value] : json.items()) {
    if (key == "Regex" && value.is_string()) size += value.get_ref<const std::string&>().size();
    if (value.is_structured()) size += size_of_regexes(value);
  }
  return size;
}

}  // namespace

void start_pattern_clock(std::size_t size) { clock_of_text.start(size); }

base::Status check_patterns(const Section& root) {
  for (const char* part : {"normalizer", "pre_tokenizer", "decoder"}) {
    const auto found = root.json().find(part);
    if (found == root.json().end()) continue;
    const std::size_t size = size_of_regexes(*found);
    if (size > kRegexSizeMax) {
      return root.error(part, "has " + std::to_string(size) +
                                  " bytes of regular expressions; the limit is " +
                                  std::to_string(kRegexSizeMax));
    }
  }
  return base::ok();
}

base::Result<std::unique_ptr<Pattern>> make_library_regex(const Section& section,
                                                          std::string_view regex) {
  return Regex::make(section, regex);
}

base::Result<std::unique_ptr<Pattern>> make_regex(const Section& section, std::string_view regex) {
  if (auto known = make_known_pattern(regex)) return known;
  return Regex::make(section, regex);
}

}  // namespace nacelle::tokenizer
