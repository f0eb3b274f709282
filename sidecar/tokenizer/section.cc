#include "sidecar/tokenizer/section.h"

#include <algorithm>

#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {

base::Error Section::error(const std::string& problem) const {
  return base::Error{base::Code::kInvalid,
                     file_ + ": " + (place_.empty() ? "" : place_ + ": ") + problem};
}

base::Error Section::error(std::string_view name, const std::string& problem) const {
  return base::Error{base::Code::kInvalid, file_ + ": " + place_of(name) + " " + problem};
}

base::Error Section::error(std::string_view name, std::size_t index,
                           const std::string& problem) const {
  return base::Error{base::Code::kInvalid,
                     file_ + ": " + place_of(name) + "[" + std::to_string(index) + "]: " + problem};
}

base::Status Section::only(std::initializer_list<std::string_view> names) const {
  if (!json_->is_object()) return error("must be an object");
  for (const auto& [key, value] : json_->items()) {
    if (std::find(names.begin(), names.end(), key) != names.end()) continue;
    std::string known;
    for (const std::string_view name : names) {
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
    return error("key " + files::in_quotes(key) + " is not known; known: " + known);
  }
  return base::ok();
}

bool Section::has(std::string_view name) const {
  const files::Json* value = find(name);
  return value != nullptr && !value->is_null();
}

base::Result<std::string> Section::text(std::string_view name) const {
  const auto value = view(name);
  if (!value) return value.error();
  return std::string(*value);
}

base::Result<std::string_view> Section::view(std::string_view name) const {
  const files::Json* value = find(name);
  if (value == nullptr || !value->is_string()) return error(name, "must be a string");
  return std::string_view(value->get_ref<const std::string&>());
}

base::Result<bool> Section::boolean(std::string_view name) const {
  const files::Json* value = find(name);
  if (value == nullptr || !value->is_boolean()) return error(name, "must be true or false");
  return value->get<bool>();
}

base::Result<bool> Section::boolean_or(std::string_view name, bool otherwise) const {
  if (!has(name)) return otherwise;
  return boolean(name);
}

base::Result<char32_t> Section::character(std::string_view name) const {
  const auto value = text(name);
  if (!value) return value.error();
  if (!value->empty()) {
    std::size_t after = 0;
    const char32_t code_point = decode(*value, after);
    if (after == value->size()) return code_point;
  }
  return error(name, "must be one character, not " + files::in_quotes(*value));
}

base::Result<std::uint32_t> Section::number(std::string_view name, std::uint32_t max) const {
  const files::Json* value = find(name);
  if (value == nullptr || !value->is_number_unsigned() || value->get<std::uint64_t>() > max) {
    return error(name, "must be a whole number from 0 to " + std::to_string(max));
  }
  return static_cast<std::uint32_t>(value->get<std::uint64_t>());
}

base::Result<Section> Section::object(std::string_view name) const {
  const files::Json* value = find(name);
  if (value == nullptr || !value->is_object()) return error(name, "must be an object");
  return Section(*value, file_, place_of(name));
}

base::Result<Section> Section::list(std::string_view name, std::size_t size_max) const {
  const files::Json* value = find(name);
  if (value == nullptr || !value->is_array()) return error(name, "must be a list");
  if (value->size() > size_max) {
    return error(name, "has " + std::to_string(value->size()) + " elements; the limit is " +
                           std::to_string(size_max));
  }
  return Section(*value, file_, place_of(name));
}

Section Section::element(std::size_t index) const {
  return Section((*json_)[index], file_, place_ + "[" + std::to_string(index) + "]");
}

std::string Section::place_of(std::string_view name) const {
  return (place_.empty() ? "" : place_ + ".") + std::string(name);
}

const files::Json* Section::find(std::string_view name) const {
  if (!json_->is_object()) return nullptr;
  const auto found = json_->find(name);
  return found == json_->end() ? nullptr : &*found;
}

}  // namespace nacelle::tokenizer
