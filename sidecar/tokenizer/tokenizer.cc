// Reads a tokenizer.json, puts its components together and runs them.
//
// A text is taken in pieces: between added tokens first, then, where that cannot change the result,
// in chunks that end at white space. So the work stops soon after `tokens_max` is reached, and the
// memory used is that of a chunk.
#include "sidecar/tokenizer/tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "sidecar/base/file.h"
#include "sidecar/base/utf8.h"
#include "sidecar/files/json.h"
#include "sidecar/tokenizer/added_tokens.h"
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/section.h"
#include "sidecar/tokenizer/split.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::size_t kFileSizeMax = 64U << 20U;  // bytes of a tokenizer.json
// Values of it outside of the model's lists: eight for an added token.
constexpr std::size_t kValuesMax = 300'000;
// Bytes normalized at a time: enough to spread the cost of a chunk, few beside 512 tokens of text.
constexpr std::size_t kChunkSize = 2048;

class Pipeline final : public Tokenizer {
 public:
  static base::Result<std::unique_ptr<Tokenizer>> make(const Section& root, ModelLists& lists) {
    const base::Status keys =
        root.only({"version", "truncation", "padding", "added_tokens", "normalizer",
                   "pre_tokenizer", "post_processor", "decoder", "model"});
    if (!keys) return keys.error();
    if (root.has("version")) {
      const auto version = root.text("version");
      if (!version) return version.error();
      if (*version != "1.0") {
        return root.error("version", files::in_quotes(*version) + " is not known; known: \"1.0\"");
      }
    }

    const base::Status patterns = check_patterns(root);
    if (!patterns) return patterns.error();
    auto result = std::make_unique<Pipeline>();
    auto normalizer = make_normalizer(root);
    if (!normalizer) return normalizer.error();
    result->normalizer_ = std::move(*normalizer);
    auto pre_tokenizers = make_pre_tokenizers(root);
    if (!pre_tokenizers) return pre_tokenizers.error();
    result->pre_tokenizers_ = std::move(*pre_tokenizers);
    const PreTokenizers& stages = result->pre_tokenizers_;
    const bool bytes = !stages.empty() && takes_bytes(root) && stages.back()->give_bytes();
    auto algorithm = make_algorithm(root, lists, bytes);
    if (!algorithm) return algorithm.error();
    result->algorithm_ = std::move(*algorithm);
    const base::Status added = result->read_added(root);
    if (!added) return added.error();
    auto post_processor = make_post_processor(root, result->id_limit_);
    if (!post_processor) return post_processor.error();
    result->post_processor_ = std::move(*post_processor);
    auto decoders = make_decoders(root);
    if (!decoders) return decoders.error();
    result->decoders_ = std::move(*decoders);

    // A normalized added token may hold white space, so then no text is cut there.
    result->chunked_ = result->normalizer_ != nullptr && stages.size() == 1 &&
                       stages[0]->splits_at_white_space() && result->added_normalized_.empty();
    result->asks_for_start_ = std::any_of(
        stages.begin(), stages.end(), [](const auto& stage) { return stage->asks_for_start(); });
    return std::unique_ptr<Tokenizer>(std::move(result));
  }

  [[nodiscard]] base::Result<Encoding> encode(std::string_view text,
                                              std::size_t tokens_max) const override {
    if (tokens_max < special_tokens()) return no_room(tokens_max, special_tokens(), "a text");
    Encoding out;
    auto ids = content_ids(text, tokens_max - special_tokens(), out.truncated);
    if (!ids) return ids.error();
    if (post_processor_ == nullptr) {
      out.types.assign(ids->size(), 0);
      out.ids = std::move(*ids);
    } else {
      post_processor_->apply(std::move(*ids), out);
    }
    return out;
  }

  [[nodiscard]] base::Result<Encoding> encode_pair(std::string_view first, std::string_view second,
                                                   std::size_t tokens_max) const override {
    const std::size_t special = special_tokens_of_pair();
    if (tokens_max < special) return no_room(tokens_max, special, "two texts");
    const std::size_t room = tokens_max - special;
    bool first_is_cut = false;
    bool second_is_cut = false;
    auto a = content_ids(first, room, first_is_cut);
    if (!a) return of_pair("first", a.error());
    auto b = content_ids(second, room, second_is_cut);
    if (!b) return of_pair("second", b.error());
    if ((first_is_cut || second_is_cut) && a->size() == b->size() && room % 2 != 0) {
      // Which one keeps the odd token depends on how long they really are.
      bool ignored = false;
      a = content_ids(first, SIZE_MAX, ignored);
      b = content_ids(second, SIZE_MAX, ignored);
      if (!a) return of_pair("first", a.error());
      if (!b) return of_pair("second", b.error());
    }
    Encoding out;
    out.truncated = first_is_cut || second_is_cut || a->size() + b->size() > room;
    if (out.truncated) cut_longest_first(*a, *b, room);
    if (post_processor_ != nullptr) {
      post_processor_->apply_pair(std::move(*a), std::move(*b), out);
      return out;
    }
    out.types.assign(a->size(), 0);
    out.types.resize(a->size() + b->size(), 1);
    out.ids = std::move(*a);
    out.ids.insert(out.ids.end(), b->begin(), b->end());
    return out;
  }

  [[nodiscard]] base::Result<Encoding> encode_plain(std::string_view text) const override {
    Encoding out;
    auto ids = content_ids(text, SIZE_MAX, out.truncated);
    if (!ids) return ids.error();
    out.types.assign(ids->size(), 0);
    out.ids = std::move(*ids);
    return out;
  }

  [[nodiscard]] base::Result<std::string> decode(std::span<const std::uint32_t> ids,
                                                 bool skip_special) const override {
    std::vector<std::string> pieces;
    for (const std::uint32_t id : ids) {
      const auto added = added_by_id_.find(id);
      if (added != added_by_id_.end()) {
        if (!skip_special || !added->second.special) pieces.push_back(added->second.content);
      } else if (const auto piece = algorithm_->piece_of(id)) {
        pieces.emplace_back(*piece);
      }
    }
    start_pattern_clock(0);
    for (const auto& decoder : decoders_) {
      if (!decoder->decode(pieces)) return too_slow();
    }
    std::string text;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (decoders_.empty() && i > 0) text += ' ';
      text += pieces[i];
    }
    return text;
  }

  [[nodiscard]] std::size_t vocabulary_size() const override { return id_limit_; }
  [[nodiscard]] std::size_t special_tokens() const override {
    return post_processor_ == nullptr ? 0 : post_processor_->added();
  }
  [[nodiscard]] std::size_t special_tokens_of_pair() const override {
    return post_processor_ == nullptr ? 0 : post_processor_->added_to_pair();
  }

 private:
  static base::Error no_room(std::size_t tokens_max, std::size_t special, const char* what) {
    return base::Error{base::Code::kInvalid,
                       "a limit of " + std::to_string(tokens_max) + " tokens has no room for the " +
                           std::to_string(special) + " special tokens around " + what};
  }
  static base::Error of_pair(const char* which, const base::Error& error) {
    return base::Error{error.code, std::string(which) + " text: " + error.message};
  }

  // Cuts two texts that have more than `room` ids together. With the shorter one up to half of the
  // room, only the longer one is cut; otherwise both, to halves.
  static void cut_longest_first(std::vector<std::uint32_t>& first,
                                std::vector<std::uint32_t>& second, std::size_t room) {
    const bool first_is_longer = first.size() > second.size();
    std::vector<std::uint32_t>& longer = first_is_longer ? first : second;
    std::vector<std::uint32_t>& shorter = first_is_longer ? second : first;
    shorter.resize(std::min(shorter.size(), room / 2));
    longer.resize(std::min(longer.size(), room - shorter.size()));
  }

  // One text on its way: what has been made of it, and room to work in.
  struct Work {
    std::size_t ids_max = 0;
    std::vector<std::uint32_t> ids;  // stops growing once there are more than ids_max
    std::string normal;              // the normal form of the current chunk
    std::vector<Cursor> cursors;     // one per pre-tokenizer
    bool failed = false;             // a normalizer or a pattern gave up

    // Whether there is nothing more to do.
    [[nodiscard]] bool over() const { return failed || ids.size() > ids_max; }
  };

  static base::Error too_much_added(const Section& root) {
    return root.error("added_tokens", "hold too much text");
  }

  base::Status read_added(const Section& root) {
    const auto tokens = read_added_tokens(root, *algorithm_);
    if (!tokens) return tokens.error();
    id_limit_ = algorithm_->id_limit();
    std::size_t normal_size = 0;  // bytes of all normal forms
    for (AddedToken token : *tokens) {
      id_limit_ = std::max(id_limit_, std::size_t{token.id} + 1);
      added_by_id_.emplace(token.id, token);
      if (!token.normalized) {
        if (!added_.add(token)) return too_much_added(root);  // contents are unique
        continue;
      }
      const std::string name = files::in_quotes(token.content);
      if (normalizer_ != nullptr) {
        std::string normal;
        start_pattern_clock(token.content.size());
        if (!normalizer_->normalize(token.content, normal)) return too_slow();
        token.content = std::move(normal);
        normal_size += token.content.size();
      }
      if (normal_size > kAddedSizeMax) return too_much_added(root);
      if (token.content.empty() || !added_normalized_.add(token)) {
        if (added_normalized_.is_full()) return too_much_added(root);
        return root.error("added_tokens",
                          "holds " + name + ", whose normal form is empty or that of another");
      }
    }
    return base::ok();
  }

  // At most `ids_max` ids of the text itself; `truncated` when there were more.
  [[nodiscard]] base::Result<std::vector<std::uint32_t>> content_ids(std::string_view text,
                                                                     std::size_t ids_max,
                                                                     bool& truncated) const {
    const auto bad = base::find_invalid_utf8(text);
    if (bad) {
      return base::Error{base::Code::kInvalid,
                         "the text is not UTF-8: bad byte at offset " + std::to_string(*bad)};
    }
    start_pattern_clock(text.size());
    Work work;
    work.ids_max = ids_max;
    work.cursors.resize(pre_tokenizers_.size());
    AddedTokenFinder::Walk walk(added_, text);
    AddedTokenFinder::Found found;
    std::size_t done = 0;
    while (!work.over() && walk.next(found)) {
      // Behind white space that the token before took along there may be nothing between them.
      if (done < found.begin)
        encode_segment(text.substr(done, found.begin - done), done == 0, work);
      if (!work.over()) work.ids.push_back(found.id);
      done = found.end;
    }
    if (!work.over() && done < text.size()) encode_segment(text.substr(done), done == 0, work);
    if (work.failed) return too_slow();

    truncated = work.ids.size() > ids_max;
    if (truncated) work.ids.resize(ids_max);
    return std::move(work.ids);
  }

  // A stretch of text without added tokens of the kind that is not normalized. `begins_text`: the
  // text starts with it.
  void encode_segment(std::string_view segment, bool begins_text, Work& work) const {
    if (normalizer_ == nullptr) {
      encode_normal(segment, begins_text, work);
      return;
    }
    if (begins_text && asks_for_start_) begins_text = keeps_first(segment);
    while (!segment.empty() && !work.over()) {
      const std::size_t size = chunked_
                                   ? normalizer_->cut(segment, std::min(kChunkSize, segment.size()))
                                   : segment.size();
      work.normal.clear();
      if (!normalizer_->normalize(segment.substr(0, size), work.normal)) work.failed = true;
      if (!work.over()) encode_normal(work.normal, begins_text, work);
      segment.remove_prefix(size);
      begins_text = false;
    }
  }

  // Whether the normal form still has the first character: to the reference library a word that
  // starts behind one that was dropped does not start the text.
  [[nodiscard]] bool keeps_first(std::string_view segment) const {
    std::size_t second = 0;
    skip(segment, second);
    std::string whole;
    std::string rest;
    return !normalizer_->normalize(segment, whole) ||
           !normalizer_->normalize(segment.substr(second), rest) || whole != rest;
  }

  void encode_normal(std::string_view normal, bool begins_text, Work& work) const {
    if (added_normalized_.empty()) {
      encode_words(normal, begins_text, work);
      return;
    }
    AddedTokenFinder::Walk walk(added_normalized_, normal);
    AddedTokenFinder::Found found;
    std::size_t done = 0;
    while (!work.over() && walk.next(found)) {
      if (done < found.begin) {
        encode_words(normal.substr(done, found.begin - done), begins_text && done == 0, work);
      }
      if (!work.over()) work.ids.push_back(found.id);
      done = found.end;
    }
    if (!work.over() && done < normal.size()) {
      encode_words(normal.substr(done), begins_text && done == 0, work);
    }
  }

  // Each pre-tokenizer takes its pieces from the words of the one before it; the last one's words
  // are encoded as they come.
  void encode_words(std::string_view text, bool begins_text, Work& work) const {
    if (text.empty()) return;
    if (pre_tokenizers_.empty()) {
      algorithm_->encode(text, work.ids_max, work.ids);
      return;
    }
    const std::size_t last = pre_tokenizers_.size() - 1;
    std::size_t stage = 0;
    begin_piece(stage, text, begins_text, work);
    while (!work.over()) {
      Cursor& cursor = work.cursors[stage];
      const std::string_view word = pre_tokenizers_[stage]->next(cursor);
      if (cursor.failed) {
        work.failed = true;
      } else if (word.empty()) {
        if (stage == 0) return;
        --stage;
      } else if (stage == last) {
        algorithm_->encode(word, work.ids_max, work.ids);
      } else {
        const bool at_start = cursor.begins_text && word.data() == cursor.text.data();
        begin_piece(++stage, word, at_start, work);
      }
    }
  }

  void begin_piece(std::size_t stage, std::string_view piece, bool begins_text, Work& work) const {
    work.cursors[stage].reset(piece, begins_text);
    pre_tokenizers_[stage]->start(work.cursors[stage]);
  }

  static base::Error too_slow() {
    return base::Error{
        base::Code::kInvalid,
        "the text takes a pattern of the tokenizer too many steps, or grows too much "
        "when it is normalized: send a shorter one"};
  }

  std::unique_ptr<Normalizer> normalizer_;  // nullptr: none
  PreTokenizers pre_tokenizers_;            // each works on the words of the one before
  std::unique_ptr<Algorithm> algorithm_;
  std::unique_ptr<PostProcessor> post_processor_;  // nullptr: none
  Decoders decoders_;
  std::unordered_map<std::uint32_t, AddedToken> added_by_id_;
  AddedTokenFinder added_;             // looked for in the text as it came
  AddedTokenFinder added_normalized_;  // looked for behind the normalizer
  std::size_t id_limit_ = 0;
  bool chunked_ = false;         // long segments may be cut at white space
  bool asks_for_start_ = false;  // it matters whether a word starts the text
};

// The tree of a tokenizer.json, without what goes to `lists`.
base::Result<files::Json> read_document(std::string_view text, const std::string& what,
                                        ModelLists& lists) {
  lists.file_size = text.size();
  const files::JsonApart apart[] = {
      {.parent = "model", .name = "vocab", .reader = &lists.vocab},
      {.parent = "model", .name = "merges", .reader = &lists.merges},
  };
  return files::parse_json(text, what, {.values_max = kValuesMax, .apart = apart});
}

}  // namespace

base::Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& path) {
  auto text = base::read_file(path, kFileSizeMax);
  if (!text) return text.error();
  ModelLists lists;
  const auto json = read_document(*text, path, lists);
  if (!json) return json.error();
  std::string().swap(*text);  // what follows does without
  return Pipeline::make(Section(*json, path, ""), lists);
}

base::Result<std::unique_ptr<Tokenizer>> Tokenizer::parse(std::string_view json,
                                                          const std::string& what) {
  if (json.size() > kFileSizeMax) {
    return base::Error{base::Code::kTooLarge, what + " has " + std::to_string(json.size()) +
                                                  " bytes; the limit is " +
                                                  std::to_string(kFileSizeMax)};
  }
  ModelLists lists;
  const auto parsed = read_document(json, what, lists);
  if (!parsed) return parsed.error();
  return Pipeline::make(Section(*parsed, what, ""), lists);
}

}  // namespace nacelle::tokenizer
