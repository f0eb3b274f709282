// THE LISTS: every normalizer, pre-tokenizer, algorithm, post-processor and decoder by its name in
// tokenizer.json. To add one, write its file and a line here.
#include <algorithm>
#include <span>

#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {
namespace {

template <typename Part>
struct Entry {
  std::string_view type;
  base::Result<std::unique_ptr<Part>> (*make)(const Section& section);
};

constexpr Entry<Normalizer> kNormalizers[] = {
    {"BertNormalizer", make_bert_normalizer},
    {"ByteLevel", make_byte_level_normalizer},
    {"Lowercase", make_lowercase},
    {"NFC", make_nfc},
    {"NFD", make_nfd},
    {"NFKC", make_nfkc},
    {"NFKD", make_nfkd},
    {"Nmt", make_nmt},
    {"Precompiled", make_precompiled},
    {"Prepend", make_prepend},
    {"Replace", make_replace},
    {"Strip", make_strip},
    {"StripAccents", make_strip_accents},
};

constexpr Entry<PreTokenizer> kPreTokenizers[] = {
    {"BertPreTokenizer", make_bert_pre_tokenizer},
    {"ByteLevel", make_byte_level},
    {"CharDelimiterSplit", make_delimiter},
    {"Digits", make_digits},
    {"Metaspace", make_metaspace},
    {"Punctuation", make_punctuation},
    {"Split", make_split},
    {"Whitespace", make_whitespace},
    {"WhitespaceSplit", make_whitespace_split},
};

struct AlgorithmEntry {
  std::string_view type;
  AlgorithmResult (*make)(const Section& section, ModelLists& lists);
};
AlgorithmResult make_bpe_of_text(const Section& section, ModelLists& lists) {
  return make_bpe(section, lists, false);
}
constexpr AlgorithmEntry kAlgorithms[] = {
    {"BPE", make_bpe_of_text},
    {"Unigram", make_unigram},
    {"WordPiece", make_wordpiece},
};

// Only what adds tokens; ByteLevel as a post-processor moves offsets, which are not kept here.
struct PostProcessorEntry {
  std::string_view type;
  PostProcessorResult (*make)(const Section& section, std::size_t id_limit);
};
PostProcessorResult make_nothing(const Section& section, std::size_t /*id_limit*/) {
  const base::Status keys = section.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (!keys) return keys.error();
  return std::unique_ptr<PostProcessor>();
}
constexpr PostProcessorEntry kPostProcessors[] = {
    {"BertProcessing", make_bert_processing},
    {"ByteLevel", make_nothing},
    {"RobertaProcessing", make_roberta_processing},
    {"TemplateProcessing", make_template_processing},
};

constexpr Entry<Decoder> kDecoders[] = {
    {"BPEDecoder", make_bpe_decoder},
    {"ByteFallback", make_byte_fallback_decoder},
    {"ByteLevel", make_byte_level_decoder},
    {"CTC", make_ctc_decoder},
    {"Fuse", make_fuse_decoder},
    {"Metaspace", make_metaspace_decoder},
    {"Replace", make_replace_decoder},
    {"Strip", make_strip_decoder},
    {"WordPiece", make_wordpiece_decoder},
};

// The entry of the list that `section` names.
template <typename One>
base::Result<const One*> choose(const Section& section, std::span<const One> entries,
                                bool sequences) {
  const auto type = section.text("type");
  if (!type) return type.error();
  std::string known;
  for (const One& entry : entries) {
    if (entry.type == *type) return &entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.type);
  }
  if (sequences) known += ", Sequence";
  return section.error("type", files::in_quotes(*type) + " is not known; known: " + known);
}

// The parts that `section` stands for, which are one, or those of the Sequence in its field `list`,
// appended to `out`. `make` adds one part. Depth is bounded by the JSON's.
template <typename Make>
base::Status flatten(const Section& section, std::string_view list, std::size_t& count,
                     const Make& make) {
  const auto type = section.text("type");
  if (!type) return type.error();
  if (*type != "Sequence") {
    if (++count > kPartsMax) {
      return section.error("is one part too many: the limit is " + std::to_string(kPartsMax));
    }
    return make(section);
  }
  const base::Status keys = section.only({"type", list});
  if (!keys) return keys.error();
  const auto parts = section.list(list, kPartsMax);
  if (!parts) return parts.error();
  for (std::size_t i = 0; i < parts->json().size(); ++i) {
    const base::Status added = flatten(parts->element(i), list, count, make);
    if (!added) return added;
  }
  return base::ok();
}

template <typename Part>
base::Result<std::vector<std::unique_ptr<Part>>> make_parts(const Section& root,
                                                            std::string_view name,
                                                            std::string_view list,
                                                            std::span<const Entry<Part>> entries) {
  std::vector<std::unique_ptr<Part>> parts;
  if (!root.has(name)) return parts;
  const auto section = root.object(name);
  if (!section) return section.error();
  std::size_t count = 0;
  const base::Status made = flatten(*section, list, count, [&](const Section& one) -> base::Status {
    const auto entry = choose(one, entries, true);
    if (!entry) return entry.error();
    auto part = (*entry)->make(one);
    if (!part) return part.error();
    parts.push_back(std::move(*part));
    return base::ok();
  });
  if (!made) return made.error();
  return parts;
}

// Several normalizers, one behind the other.
class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}

  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    std::string from(text);
    std::string to;
    for (std::size_t i = 0; i + 1 < parts_.size(); ++i) {
      to.clear();
      if (!parts_[i]->normalize(from, to)) return false;
      from.swap(to);
    }
    return parts_.back()->normalize(from, out);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;  // two at least
};

// Files older than the "type" field exist (bert-base-uncased's and t5-small's): each model has
// fields of its own.
std::string_view type_by_fields(const Section& section) {
  if (section.has("continuing_subword_prefix") && section.has("max_input_chars_per_word")) {
    return "WordPiece";
  }
  if (section.has("merges")) return "BPE";
  if (section.json().contains("unk_id")) return "Unigram";
  return {};
}

bool is_bpe(const Section& model) {
  const auto type = model.text("type");
  return type ? *type == "BPE" : type_by_fields(model) == "BPE";
}

}  // namespace

base::Result<std::unique_ptr<Normalizer>> make_normalizer(const Section& root) {
  auto parts = make_parts<Normalizer>(root, "normalizer", "normalizers", kNormalizers);
  if (!parts) return parts.error();
  if (parts->empty()) return std::unique_ptr<Normalizer>();
  if (parts->size() == 1) return std::move(parts->front());
  return std::unique_ptr<Normalizer>(std::make_unique<Sequence>(std::move(*parts)));
}

base::Result<PreTokenizers> make_pre_tokenizers(const Section& root) {
  return make_parts<PreTokenizer>(root, "pre_tokenizer", "pretokenizers", kPreTokenizers);
}

base::Result<Decoders> make_decoders(const Section& root) {
  return make_parts<Decoder>(root, "decoder", "decoders", kDecoders);
}

bool takes_bytes(const Section& root) {
  const auto section = root.object("model");
  if (!section || !is_bpe(*section)) return false;
  // The pieces that name bytes are those of the letters' bytes.
  const auto byte_fallback = section->boolean_or("byte_fallback", false);
  if (!byte_fallback || *byte_fallback) return false;
  // The prefix and the suffix stand in the pieces beside the letters for bytes. Bytes that are
  // graphic ASCII are their own letters.
  const auto prefix = section->text("continuing_subword_prefix");
  if (prefix && !prefix->empty()) return false;
  const auto suffix = section->text("end_of_word_suffix");
  return !suffix ||
         std::all_of(suffix->begin(), suffix->end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

base::Result<std::unique_ptr<Algorithm>> make_algorithm(const Section& root, ModelLists& lists,
                                                        bool bytes) {
  const auto section = root.object("model");
  if (!section) return section.error();
  if (bytes) return make_bpe(*section, lists, true);
  if (!section->has("type")) {
    const std::string_view type = type_by_fields(*section);
    for (const auto& entry : kAlgorithms) {
      if (entry.type == type) return entry.make(*section, lists);
    }
  }
  const auto entry = choose<AlgorithmEntry>(*section, kAlgorithms, false);
  if (!entry) return entry.error();
  return (*entry)->make(*section, lists);
}

base::Result<std::unique_ptr<PostProcessor>> make_post_processor(const Section& root,
                                                                 std::size_t id_limit) {
  std::unique_ptr<PostProcessor> result;
  if (!root.has("post_processor")) return result;
  const auto section = root.object("post_processor");
  if (!section) return section.error();
  std::size_t count = 0;
  const base::Status made =
      flatten(*section, "processors", count, [&](const Section& one) -> base::Status {
        const auto entry = choose<PostProcessorEntry>(one, kPostProcessors, true);
        if (!entry) return entry.error();
        auto part = (*entry)->make(one, id_limit);
        if (!part) return part.error();
        if (*part == nullptr) return base::ok();
        if (result != nullptr) return one.error("is the second part that adds tokens");
        result = std::move(*part);
        return base::ok();
      });
  if (!made) return made.error();
  return result;
}

}  // namespace nacelle::tokenizer
