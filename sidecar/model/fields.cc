// See fields.h.
#include "sidecar/model/fields.h"

namespace nacelle::model {

std::string shown(const files::Json& value) {
  return files::in_quotes(value.is_string() ? value.get<std::string>() : value.dump());
}

Fields::Fields(const files::Json& object, const std::string& file) : object_(object), file_(file) {
  if (!object.is_object()) {
    error_ = base::Error{base::Code::kInvalid, file + ": not a JSON object"};
  }
}

const files::Json* Fields::find(const char* name) const {
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Fields::refuse(const char* name, const std::string& problem) {
  if (error_) return;
  error_ = base::Error{base::Code::kInvalid, file_ + ": " + name + ": " + problem};
}

base::Status Fields::status() const { return error_ ? base::Status(*error_) : base::ok(); }

std::uint32_t Fields::count(const char* name, std::uint32_t min, std::uint32_t max,
                            std::optional<std::uint32_t> fallback) {
  const files::Json* value = find(name);
  if (value == nullptr) {
    if (!fallback) refuse(name, "missing");
    return fallback.value_or(min);
  }
  const std::uint64_t number =
      value->is_number_unsigned() ? value->get<std::uint64_t>() : std::uint64_t{max} + 1;
  if (number < min || number > max) {
    refuse(name, "must be a whole number from " + std::to_string(min) + " to " +
                     std::to_string(max) + ", not " + files::in_quotes(value->dump()));
    return min;
  }
  return static_cast<std::uint32_t>(number);
}

float Fields::positive(const char* name, float max, float fallback) {
  const files::Json* value = find(name);
  if (value == nullptr) return fallback;
  const float number = value->is_number() ? static_cast<float>(value->get<double>()) : 0.0F;
  if (!(number > 0 && number <= max)) {
    refuse(name, "must be a number above 0 and at most " + std::to_string(max) + ", not " +
                     files::in_quotes(value->dump()));
    return fallback;
  }
  return number;
}

bool Fields::flag(const char* name, bool fallback) {
  const files::Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    refuse(name, "must be true or false, not " + files::in_quotes(value->dump()));
    return fallback;
  }
  return value->get<bool>();
}

std::string Fields::text(const char* name, std::string_view fallback) {
  const files::Json* value = find(name);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) {
    refuse(name, "must be a string, not " + files::in_quotes(value->dump()));
    return std::string(fallback);
  }
  return value->get<std::string>();
}

}  // namespace nacelle::model
