// BertProcessing and RobertaProcessing: the post-processors from before there were templates.
//
//   BERT      [CLS] A [SEP]      [CLS] A [SEP] B [SEP]          B and what follows: type 1
//   RoBERTa   <s> A </s>         <s> A </s> </s> B </s>         all: type 0
#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {
namespace {

class Processing final : public PostProcessor {
 public:
  Processing(std::uint32_t begin, std::uint32_t end, bool doubles_end, std::uint32_t second_type)
      : begin_(begin), end_(end), doubles_end_(doubles_end), second_type_(second_type) {}

  [[nodiscard]] std::size_t added() const override { return 2; }
  [[nodiscard]] std::size_t added_to_pair() const override { return doubles_end_ ? 4 : 3; }

  void apply(std::vector<std::uint32_t> ids, Encoding& out) const override {
    out.ids = std::move(ids);
    out.ids.insert(out.ids.begin(), begin_);
    out.ids.push_back(end_);
    out.types.assign(out.ids.size(), 0);
  }

  void apply_pair(std::vector<std::uint32_t> first, std::vector<std::uint32_t> second,
                  Encoding& out) const override {
    apply(std::move(first), out);
    if (doubles_end_) out.ids.push_back(end_);
    out.ids.insert(out.ids.end(), second.begin(), second.end());
    out.ids.push_back(end_);
    out.types.resize(out.ids.size(), second_type_);
  }

 private:
  std::uint32_t begin_;
  std::uint32_t end_;
  bool doubles_end_;
  std::uint32_t second_type_;
};

// A field such as ["[SEP]", 102].
base::Result<std::uint32_t> read_token(const Section& section, std::string_view name,
                                       std::size_t id_limit) {
  const auto list = section.list(name, 2);
  if (!list) return list.error();
  const auto& json = list->json();
  if (json.size() != 2 || !json[0].is_string() || !json[1].is_number_unsigned()) {
    return section.error(name, "must be a token and its id, e.g. [\"[SEP]\", 102]");
  }
  if (json[1].get<std::uint64_t>() >= id_limit) {
    return section.error(name, "has an id that is not in the vocabulary");
  }
  return static_cast<std::uint32_t>(json[1].get<std::uint64_t>());
}

PostProcessorResult make(const Section& section, std::size_t id_limit, bool doubles_end,
                         std::uint32_t second_type) {
  const auto begin = read_token(section, "cls", id_limit);
  if (!begin) return begin.error();
  const auto end = read_token(section, "sep", id_limit);
  if (!end) return end.error();
  return std::unique_ptr<PostProcessor>(
      std::make_unique<Processing>(*begin, *end, doubles_end, second_type));
}

}  // namespace

PostProcessorResult make_bert_processing(const Section& section, std::size_t id_limit) {
  const base::Status keys = section.only({"type", "sep", "cls"});
  if (!keys) return keys.error();
  return make(section, id_limit, false, 1);
}

PostProcessorResult make_roberta_processing(const Section& section, std::size_t id_limit) {
  const base::Status keys =
      section.only({"type", "sep", "cls", "trim_offsets", "add_prefix_space"});
  if (!keys) return keys.error();
  return make(section, id_limit, true, 0);
}

}  // namespace nacelle::tokenizer
