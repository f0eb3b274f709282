// What a model's sentence-transformers files say about sentence vectors: modules.json lists the
// steps, each step's folder holds its settings, config_sentence_transformers.json the prompts.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/result.h"

namespace nacelle::model {

// A step after the pooling.
struct SentenceStep {
  enum class Kind : std::uint8_t { kDense, kLayerNorm, kNormalize };
  Kind kind = Kind::kNormalize;
  std::string folder;           // of its weights, right inside the model's; empty for kNormalize
  std::uint32_t out_width = 0;  // floats per text after it
  bool bias = true;             // kDense
  bool residual = false;        // kDense: its input is added after the activation
  kernels::Activation activation = kernels::Activation::kNone;  // kDense
};

// Without modules.json: the mean over all tokens, special ones included, scaled to L2 norm 1. It is
// what most encoders are used with; a model that wants something else says so in modules.json.
struct SentenceConfig {
  std::vector<kernels::Pooling> pooling = {kernels::Pooling::kMean};  // side by side, in order
  std::vector<SentenceStep> steps = {SentenceStep{}};
  std::uint32_t pooled_width = 0;  // floats per text before the first step
  std::uint32_t width = 0;         // floats per text after all steps
  bool include_prompt = true;      // false: a prompt's tokens are not pooled
};

inline constexpr std::size_t kSentenceStepsMax = 8;

// Reads `directory`'s files for a model whose token vectors have `width` floats. The steps must be
// Transformer (in the folder itself), Pooling (cls, max, mean, mean_sqrt_len, weightedmean and
// lasttoken, or several side by side), then Dense, LayerNorm, Normalize and Dropout in any order.
// A model with a classifier may have the Transformer alone, and then embeds as without
// modules.json. Everything else is kInvalid with the file, what it says and what is known.
base::Result<SentenceConfig> read_sentence_config(const std::string& directory, std::uint32_t width,
                                                  bool is_classifier);

// Texts to put before a text, by what it is for ("query", "document"), in the file's order of
// names; and which of them is used when a caller names none.
struct Prompts {
  std::vector<std::pair<std::string, std::string>> texts;  // name, text
  std::string default_name;                                // one of the names, or empty
};
inline constexpr std::size_t kPromptsMax = 64;
inline constexpr std::size_t kPromptSizeMax = 64 << 10;  // bytes of a name or text

// From config_sentence_transformers.json; none when there is no such file.
base::Result<Prompts> read_prompts(const std::string& directory);

// The activation of a cross-encoder's score, as a class of torch
// ("torch.nn.modules.linear.Identity"), from config_sentence_transformers.json; empty when it names
// none.
base::Result<std::string> read_score_class(const std::string& directory);

}  // namespace nacelle::model
