// See token_limit.h.
#include "sidecar/model/token_limit.h"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <system_error>

#include "sidecar/files/json.h"
#include "sidecar/model/fields.h"

namespace nacelle::model {
namespace {

constexpr std::size_t kFileSizeMax = 4 << 20;  // bytes; some tokenizers list thousands of tokens

// The file's JSON, or null when there is no such file.
base::Result<files::Json> read_optional(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return files::Json();
  return files::read_json(path, kFileSizeMax);
}

// `limit`, or what the field `name` says when that is less.
std::uint32_t lowered(Fields& fields, const char* name, std::uint32_t limit) {
  const files::Json* value = fields.find(name);
  if (value == nullptr) return limit;
  const double stated = value->is_number() ? value->get<double>() : 0;
  if (!(stated >= 1)) {
    fields.refuse(name, "must be a number of tokens, not " + files::in_quotes(value->dump()));
    return limit;
  }
  return stated < limit ? static_cast<std::uint32_t>(stated) : limit;
}

}  // namespace

base::Result<std::uint32_t> read_token_limit(const std::string& directory,
                                             std::uint32_t positions) {
  std::uint32_t limit = positions;
  const std::string sentence_path = directory + "/sentence_bert_config.json";
  const auto sentence = read_optional(sentence_path);
  if (!sentence) return sentence.error();
  if (!sentence->is_null()) {
    Fields fields(*sentence, sentence_path);
    limit = lowered(fields, "max_seq_length", limit);
    // sentence-transformers would lower the text in Python, by rules that are not the tokenizer's.
    if (fields.flag("do_lower_case", false)) {
      fields.refuse("do_lower_case",
                    "true is not supported: let tokenizer.json's normalizer lower");
    }
    if (const auto status = fields.status(); !status) return status.error();
  }
  const std::string tokenizer_path = directory + "/tokenizer_config.json";
  const auto tokenizer = read_optional(tokenizer_path);
  if (!tokenizer) return tokenizer.error();
  if (!tokenizer->is_null()) {
    Fields fields(*tokenizer, tokenizer_path);
    limit = lowered(fields, "model_max_length", limit);
    if (const auto status = fields.status(); !status) return status.error();
  }
  return limit;
}

}  // namespace nacelle::model
