// The long lists of a tokenizer.json, read without a tree: a vocabulary's pieces with their ids or
// scores, and the merges. As a tree, each value would cost about 100 bytes.
//
// Cost: the bytes of the texts and 16 bytes for each element, at most kElementsMax of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/files/json.h"

namespace nacelle::tokenizer {

class Listing final : public nlohmann::json_sax<files::Json> {
 public:
  // The largest vocabularies in use have 900,000 pieces, and 600,000 merges.
  static constexpr std::size_t kElementsMax = 1U << 20U;

  enum class Kind : std::uint8_t {
    kOther,   // none of these; nothing behind it is kept
    kNumber,  // "first": number, a member of an object; the number is whole and not negative
    kText,    // "first"
    kScored,  // ["first", number]
    kPair,    // ["first", "second"]
  };
  struct Element {
    Kind kind = Kind::kOther;
    std::string_view first;
    std::string_view second;
    double number = 0;
  };

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] Element operator[](std::size_t index) const;
  [[nodiscard]] std::size_t text_size() const { return bytes_.size(); }  // of all elements
  // Gives the memory back.
  void clear();
  // Whether there were more than kElementsMax.
  [[nodiscard]] bool is_cut() const { return cut_; }

  // The events of the parser.
  bool null() override { return other(); }
  bool boolean(bool value) override;
  bool number_integer(std::int64_t value) override;
  bool number_unsigned(std::uint64_t value) override;
  bool number_float(double value, const std::string& text) override;
  bool string(std::string& value) override;
  bool binary(files::Json::binary_t& value) override;
  bool start_object(std::size_t count) override;
  bool key(std::string& value) override;
  bool end_object() override;
  bool start_array(std::size_t count) override;
  bool end_array() override;
  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception& error) override;

 private:
  struct Entry {
    std::uint32_t end;  // of its texts, in bytes_
    Kind kind : 4;
    std::uint32_t first_size : 28;
    double number;
  };

  bool other();
  bool number(double value, bool whole);
  void begin();
  void finish(Kind kind);

  std::string bytes_;  // the texts, end to end
  std::vector<Entry> entries_;
  std::size_t depth_ = 0;  // 1 in the list, 2 in an element
  bool is_object_ = false;
  bool cut_ = false;
  bool done_ = false;  // what follows is not kept
  // The element being read.
  std::size_t from_ = 0;        // where its texts begin
  std::size_t first_size_ = 0;  // bytes
  std::size_t parts_ = 0;
  Kind kind_ = Kind::kOther;
  double number_ = 0;
};

// What a model's section holds beside its fields.
struct ModelLists {
  Listing vocab;
  Listing merges;
  std::size_t file_size = 0;  // bytes of the whole tokenizer.json
};

}  // namespace nacelle::tokenizer
