// THE LISTS: every normalizer, pre-tokenizer, algorithm and post-processor by its name in
// tokenizer.json. To add one, write its file and a line here.
#include <algorithm>
#include <span>

#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {
namespace {

struct NormalizerEntry {
  std::string_view type;
  base::Result<std::unique_ptr<Normalizer>> (*make)(const Section& section);
};
constexpr NormalizerEntry kNormalizers[] = {
    {"BertNormalizer", make_bert_normalizer},
};

struct PreTokenizerEntry {
  std::string_view type;
  base::Result<std::unique_ptr<PreTokenizer>> (*make)(const Section& section);
};
constexpr PreTokenizerEntry kPreTokenizers[] = {
    {"BertPreTokenizer", make_bert_pre_tokenizer},
};

struct AlgorithmEntry {
  std::string_view type;
  base::Result<std::unique_ptr<Algorithm>> (*make)(const Section& section);
};
constexpr AlgorithmEntry kAlgorithms[] = {
    {"WordPiece", make_wordpiece},
};

struct PostProcessorEntry {
  std::string_view type;
  base::Result<std::unique_ptr<PostProcessor>> (*make)(const Section& section,
                                                       std::size_t id_limit);
};
constexpr PostProcessorEntry kPostProcessors[] = {
    {"TemplateProcessing", make_template_processing},
};

struct DecoderEntry {
  std::string_view type;
};
constexpr DecoderEntry kDecoders[] = {{"WordPiece"}};

// The entry of the list that `section` names.
template <typename Entry>
base::Result<const Entry*> choose(const Section& section, std::span<const Entry> entries) {
  const auto type = section.text("type");
  if (!type) return type.error();
  std::string known;
  for (const Entry& entry : entries) {
    if (entry.type == *type) return &entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.type);
  }
  return section.error("type", files::in_quotes(*type) + " is not known; known: " + known);
}

}  // namespace

base::Result<std::unique_ptr<Normalizer>> make_normalizer(const Section& root) {
  if (!root.has("normalizer")) return std::unique_ptr<Normalizer>();
  const auto section = root.object("normalizer");
  if (!section) return section.error();
  const auto entry = choose<NormalizerEntry>(*section, kNormalizers);
  if (!entry) return entry.error();
  return (*entry)->make(*section);
}

base::Result<std::unique_ptr<PreTokenizer>> make_pre_tokenizer(const Section& root) {
  if (!root.has("pre_tokenizer")) return std::unique_ptr<PreTokenizer>();
  const auto section = root.object("pre_tokenizer");
  if (!section) return section.error();
  const auto entry = choose<PreTokenizerEntry>(*section, kPreTokenizers);
  if (!entry) return entry.error();
  return (*entry)->make(*section);
}

base::Result<std::unique_ptr<Algorithm>> make_algorithm(const Section& root) {
  const auto section = root.object("model");
  if (!section) return section.error();
  // Files older than the "type" field exist (bert-base-uncased's is one). The prefix and the
  // longest word are WordPiece's own fields.
  if (!section->has("type") && section->has("continuing_subword_prefix") &&
      section->has("max_input_chars_per_word")) {
    return make_wordpiece(*section);
  }
  const auto entry = choose<AlgorithmEntry>(*section, kAlgorithms);
  if (!entry) return entry.error();
  return (*entry)->make(*section);
}

base::Result<std::unique_ptr<PostProcessor>> make_post_processor(const Section& root,
                                                                 std::size_t id_limit) {
  if (!root.has("post_processor")) return std::unique_ptr<PostProcessor>();
  const auto section = root.object("post_processor");
  if (!section) return section.error();
  const auto entry = choose<PostProcessorEntry>(*section, kPostProcessors);
  if (!entry) return entry.error();
  return (*entry)->make(*section, id_limit);
}

base::Status check_decoder(const Section& root) {
  if (!root.has("decoder")) return base::ok();
  const auto section = root.object("decoder");
  if (!section) return section.error();
  const auto entry = choose<DecoderEntry>(*section, kDecoders);
  if (!entry) return entry.error();
  return base::ok();
}

}  // namespace nacelle::tokenizer
