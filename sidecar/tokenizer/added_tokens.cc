#include "sidecar/tokenizer/added_tokens.h"

#include <algorithm>
#include <unordered_set>

#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

base::Result<AddedToken> read_token(const Section& section) {
  const base::Status keys =
      section.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  if (!keys) return keys.error();
  AddedToken token;
  const auto id = section.number("id", kIdMax);
  if (!id) return id.error();
  token.id = *id;
  const auto content = section.text("content");
  if (!content) return content.error();
  token.content = *content;
  if (token.content.empty() || token.content.size() > kAddedTokenSizeMax) {
    return section.error("content", "must have 1 to " + std::to_string(kAddedTokenSizeMax) +
                                        " bytes, not " + std::to_string(token.content.size()));
  }
  const auto flag = [&](std::string_view name, bool& out) -> base::Status {
    const auto value = section.boolean(name);
    if (!value) return value.error();
    out = *value;
    return base::ok();
  };
  for (const base::Status& status :
       {flag("single_word", token.single_word), flag("lstrip", token.lstrip),
        flag("rstrip", token.rstrip), flag("normalized", token.normalized),
        flag("special", token.special)}) {
    if (!status) return status.error();
  }
  return token;
}

// The first character of the white space that ends at `end`, looking back no further than `from`.
std::size_t white_space_before(std::string_view text, std::size_t from, std::size_t end) {
  const std::vector<std::uint8_t>& facts = unicode_facts();
  while (end > from) {
    std::size_t start = end - 1;
    while (start > from && is_continuation(text[start])) --start;
    std::size_t after = start;
    if ((facts[decode(text, after)] & kWhiteSpace) == 0) break;
    end = start;
  }
  return end;
}

std::size_t white_space_after(std::string_view text, std::size_t start) {
  const std::vector<std::uint8_t>& facts = unicode_facts();
  while (start < text.size()) {
    std::size_t after = start;
    if ((facts[decode(text, after)] & kWhiteSpace) == 0) break;
    start = after;
  }
  return start;
}

// Whether word characters touch text[begin, end).
bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0) {
    std::size_t start = begin - 1;
    while (start > 0 && is_continuation(text[start])) --start;
    if (is_word(decode(text, start))) return true;
  }
  return end < text.size() && is_word(decode(text, end));
}

}  // namespace

base::Result<std::vector<AddedToken>> read_added_tokens(const Section& root,
                                                        const Algorithm& algorithm) {
  std::vector<AddedToken> tokens;
  if (!root.has("added_tokens")) return tokens;
  const auto list = root.list("added_tokens", kAddedTokensMax);
  if (!list) return list.error();

  std::unordered_set<std::string> contents;
  std::unordered_set<std::uint32_t> ids;
  for (std::size_t i = 0; i < list->json().size(); ++i) {
    const Section section = list->element(i);
    auto token = read_token(section);
    if (!token) return token.error();
    if (!contents.insert(token->content).second) {
      return section.error("content", files::in_quotes(token->content) + " appears twice");
    }
    if (!ids.insert(token->id).second) {
      return section.error("id", std::to_string(token->id) + " appears twice");
    }
    const auto model_id = algorithm.id_of(token->content);
    if (model_id && *model_id != token->id) {
      return section.error("id", "is " + std::to_string(token->id) + " but model.vocab gives " +
                                     files::in_quotes(token->content) + " the id " +
                                     std::to_string(*model_id));
    }
    if (!model_id && token->id < algorithm.id_limit()) {
      return section.error("id", "is " + std::to_string(token->id) +
                                     ", which is one of model.vocab's, but the content " +
                                     files::in_quotes(token->content) + " is not there");
    }
    tokens.push_back(std::move(*token));
  }
  return tokens;
}

bool AddedTokenFinder::add(const AddedToken& token) {
  if (!contents_.add(token.content, static_cast<std::uint32_t>(tokens_.size()))) return false;
  starts_[static_cast<unsigned char>(token.content.front())] = true;
  AddedToken& kept = tokens_.emplace_back(token);
  std::string().swap(kept.content);
  return true;
}

bool AddedTokenFinder::Walk::next(Found& found) {
  while (true) {
    while (search_from_ < text_.size() &&
           !finder_.starts_[static_cast<unsigned char>(text_[search_from_])]) {
      ++search_from_;
    }
    if (search_from_ >= text_.size()) return false;

    Vocabulary::Match match;
    const std::size_t begin = search_from_;
    if (!finder_.contents_.longest(Vocabulary::kRoot, text_, begin, match)) {
      ++search_from_;
      continue;
    }
    search_from_ = match.end;
    const AddedToken& token = finder_.tokens_[match.id];
    if (token.single_word && touches_word(text_, begin, match.end)) continue;

    found = {.begin = begin, .end = match.end, .id = token.id};
    if (token.lstrip) found.begin = white_space_before(text_, std::min(taken_, begin), begin);
    if (token.rstrip) found.end = white_space_after(text_, match.end);
    taken_ = found.end;
    return true;
  }
}

}  // namespace nacelle::tokenizer
