#include "sidecar/tokenizer/listing.h"

namespace nacelle::tokenizer {

Listing::Element Listing::operator[](std::size_t index) const {
  const Entry& entry = entries_[index];
  const std::size_t begin = index == 0 ? 0 : entries_[index - 1].end;
  const std::string_view texts = std::string_view(bytes_).substr(begin, entry.end - begin);
  return {.kind = entry.kind,
          .first = texts.substr(0, entry.first_size),
          .second = texts.substr(entry.first_size),
          .number = entry.number};
}

void Listing::clear() {
  std::string().swap(bytes_);
  std::vector<Entry>().swap(entries_);
}

void Listing::begin() {
  from_ = bytes_.size();
  first_size_ = 0;
  parts_ = 0;
  kind_ = Kind::kOther;
  number_ = 0;
}

void Listing::finish(Kind kind) {
  if (done_) return;
  if (entries_.size() == kElementsMax) {
    cut_ = true;
    done_ = true;
    return;
  }
  // Sizes fit: a file has at most 64 MiB.
  Entry entry{};
  entry.end = static_cast<std::uint32_t>(bytes_.size());
  entry.kind = kind;
  entry.first_size = static_cast<std::uint32_t>(first_size_) & ((1U << 28U) - 1);
  entry.number = number_;
  entries_.push_back(entry);
  done_ = kind == Kind::kOther;
}

// A value that no element has here.
bool Listing::other() {
  if (depth_ == 1) {
    if (!is_object_) begin();
    finish(Kind::kOther);
  } else {
    kind_ = Kind::kOther;
    parts_ = 3;
  }
  return true;
}

bool Listing::number(double value, bool whole) {
  if (depth_ == 1 && is_object_ && whole) {
    number_ = value;
    finish(Kind::kNumber);
    return true;
  }
  if (depth_ != 2 || is_object_ || parts_ != 1) return other();
  number_ = value;
  kind_ = Kind::kScored;
  parts_ = 2;
  return true;
}

bool Listing::boolean(bool /*value*/) { return other(); }
bool Listing::number_integer(std::int64_t value) {
  return number(static_cast<double>(value), false);
}
bool Listing::number_unsigned(std::uint64_t value) {
  return number(static_cast<double>(value), true);
}
bool Listing::number_float(double value, const std::string& /*text*/) {
  return number(value, false);
}

bool Listing::string(std::string& value) {
  if (is_object_ || (depth_ == 2 && parts_ > 1) || depth_ > 2) return other();
  if (done_) return true;
  if (depth_ == 1) begin();
  bytes_ += value;
  if (parts_ == 0) first_size_ = value.size();
  kind_ = Kind::kPair;
  ++parts_;
  if (depth_ == 1) finish(Kind::kText);
  return true;
}

bool Listing::binary(files::Json::binary_t& /*value*/) { return other(); }

bool Listing::key(std::string& value) {
  if (depth_ != 1 || done_) return true;
  begin();
  bytes_ += value;
  first_size_ = value.size();
  return true;
}

bool Listing::start_object(std::size_t /*count*/) {
  if (depth_++ == 0) {
    is_object_ = true;
    return true;
  }
  if (depth_ == 2 && !is_object_) begin();
  parts_ = 3;
  return true;
}

bool Listing::start_array(std::size_t /*count*/) {
  if (depth_++ == 0) return true;
  if (depth_ == 2 && !is_object_) {
    begin();
  } else {
    parts_ = 3;
  }
  return true;
}

bool Listing::end_object() {
  if (--depth_ == 1) finish(Kind::kOther);
  return true;
}

bool Listing::end_array() {
  if (--depth_ == 1) finish(!is_object_ && parts_ == 2 ? kind_ : Kind::kOther);
  return true;
}

bool Listing::parse_error(std::size_t /*position*/, const std::string& /*token*/,
                          const nlohmann::detail::exception& /*error*/) {
  return true;
}

}  // namespace nacelle::tokenizer
