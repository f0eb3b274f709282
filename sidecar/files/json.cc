// The parser is nlohmann-json's SAX interface, which keeps its own stack; the tree is built here so
// that limits are checked before memory is spent and nothing throws.
#include "sidecar/files/json.h"

#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "sidecar/base/file.h"

namespace nacelle::files {
namespace {

constexpr std::size_t kQuotedMax = 96;   // bytes of a quoted text
constexpr std::size_t kReasonMax = 300;  // bytes of the parser's own words

// Walks the text and leaves its place where the SAX handler can see it: the interface itself tells
// offsets only for syntax errors.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** seen) : at_(at), seen_(seen) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    *seen_ = at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** seen_;
};

// Builds the tree. Each event returns false to stop the parser, with the reason in `reason`.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override {
    if (reader_ != nullptr) return reader_->null(), true;
    return add(nullptr) != nullptr;
  }
  bool boolean(bool value) override {
    if (reader_ != nullptr) return reader_->boolean(value), true;
    return add(value) != nullptr;
  }
  bool number_integer(std::int64_t value) override {
    if (reader_ != nullptr) return reader_->number_integer(value), true;
    return add(value) != nullptr;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (reader_ != nullptr) return reader_->number_unsigned(value), true;
    return add(value) != nullptr;
  }
  bool number_float(double value, const std::string& text) override {
    if (reader_ != nullptr) return reader_->number_float(value, text), true;
    return add(value) != nullptr;
  }
  bool string(std::string& value) override {
    if (reader_ != nullptr) return reader_->string(value), true;
    return add(std::move(value)) != nullptr;
  }
  bool binary(Json::binary_t& /*value*/) override { return stop("binary values are not JSON"); }
  bool start_object(std::size_t count) override {
    if (!open(Json::value_t::object)) return false;
    if (reader_ != nullptr) reader_->start_object(count);
    return true;
  }
  bool start_array(std::size_t count) override {
    if (!open(Json::value_t::array)) return false;
    if (reader_ != nullptr) reader_->start_array(count);
    return true;
  }
  bool end_object() override {
    if (reader_ != nullptr) reader_->end_object();
    return close();
  }
  bool end_array() override {
    if (reader_ != nullptr) reader_->end_array();
    return close();
  }

  bool key(std::string& value) override {
    if (reader_ != nullptr) return reader_->key(value), true;
    next_reader_ = nullptr;
    if (open_.size() == 1) parent_ = {};
    for (const JsonApart& one : limits_.apart) {
      if (open_.size() == 1 && one.parent == value) parent_ = one.parent;
      if (open_.size() == 2 && one.parent == parent_ && one.name == value) {
        next_reader_ = one.reader;
      }
    }
    const auto [slot, is_new] = open_.back()->get_ref<Json::object_t&>().emplace(value, nullptr);
    if (!is_new) return stop("key " + in_quotes(value) + " appears twice");
    member_ = &slot->second;
    return true;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    std::string_view what = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: the reason"
    const std::size_t colon = what.find(": ");
    if (colon != std::string_view::npos) what.remove_prefix(colon + 2);
    const std::size_t bracket = what.find("] ");
    if (what.starts_with('[') && bracket != std::string_view::npos) what.remove_prefix(bracket + 2);
    return stop(std::string(what.substr(0, kReasonMax)));
  }

  [[nodiscard]] const std::string& reason() const { return reason_; }
  Json& root() { return root_; }

 private:
  bool stop(std::string reason) {
    reason_ = std::move(reason);
    return false;
  }

  bool open(Json::value_t type) {
    if (open_.size() + depth_apart_ == kJsonDepthMax) {
      return stop("nesting is deeper than " + std::to_string(kJsonDepthMax) + " levels");
    }
    if (reader_ != nullptr) {
      ++depth_apart_;
      return true;
    }
    Json* value = add(Json(type));
    if (value == nullptr) return false;
    if (next_reader_ != nullptr) {
      reader_ = std::exchange(next_reader_, nullptr);
      depth_apart_ = 1;
      return true;
    }
    // The pointer stays good: its parent grows again only after this value is closed.
    open_.push_back(value);
    return true;
  }

  bool close() {
    if (reader_ == nullptr) {
      open_.pop_back();
    } else if (--depth_apart_ == 0) {
      reader_ = nullptr;
    }
    return true;
  }

  // Where the value now is; nullptr when there are too many.
  Json* add(Json value) {
    if (++values_ > limits_.values_max) {
      stop("more than " + std::to_string(limits_.values_max) + " values");
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    *member_ = std::move(value);
    return member_;
  }

  const JsonLimits& limits_;
  Json root_;
  std::vector<Json*> open_;  // from the root inwards; at most kJsonDepthMax
  std::string_view parent_;  // the latest key of the root, when members of it stay apart
  // Of the member whose value comes next, and the one that gets the events now.
  nlohmann::json_sax<Json>* next_reader_ = nullptr;
  nlohmann::json_sax<Json>* reader_ = nullptr;
  std::size_t depth_apart_ = 0;  // values open in reader_'s
  Json* member_ = nullptr;       // the object member that the last key made
  std::size_t values_ = 0;
  std::string reason_;
};

base::Error error_at(const std::string& what, std::size_t offset, const std::string& reason) {
  // The reason may repeat bytes of the file: keep what a terminal can show.
  std::string clean;
  for (const char c : reason) clean += c >= ' ' && c < '\x7f' ? c : '?';
  return base::Error{base::Code::kInvalid,
                     what + ": byte " + std::to_string(offset) + ": not valid JSON: " + clean};
}

}  // namespace

base::Result<Json> parse_json(std::string_view text, const std::string& what,
                              const JsonLimits& limits) {
  // The parser takes a NUL for the end of the text and would not look at what follows.
  const std::size_t nul = text.find('\0');
  if (nul != std::string_view::npos) return error_at(what, nul, "a NUL byte");

  const char* seen = text.data();
  Builder builder(limits);
  const bool parsed = Json::sax_parse(CountingIterator(text.data(), &seen),
                                      CountingIterator(text.data() + text.size(), &seen), &builder);
  if (!parsed) {
    return error_at(what, static_cast<std::size_t>(seen - text.data()), builder.reason());
  }
  return std::move(builder.root());
}

base::Result<Json> read_json(const std::string& path, std::size_t size_max) {
  const auto text = base::read_file(path, size_max);
  if (!text) return text.error();
  return parse_json(*text, path);
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, kQuotedMax)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  if (text.size() > kQuotedMax) {
    // Do not end inside a character.
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0U) == 0x80U)
      out.pop_back();
    if (static_cast<unsigned char>(out.back()) >= 0xC0U) out.pop_back();
    out += "...";
  }
  return out + "\"";
}

}  // namespace nacelle::files
