#include "sidecar/config/value.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <limits>
#include <optional>

#include "sidecar/base/address.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"
#include "sidecar/base/suggest.h"
#include "sidecar/base/utf8.h"

namespace nacelle::config {
namespace {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};

// What is wrong with a value, as the end of a sentence; nothing when it was written to the member.
using Refusal = std::optional<std::string>;

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_service_name(std::string_view name) {
  return !name.empty() && name.size() <= kServiceNameMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_lower_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

// How store::Store tells a path from an entry.
bool is_model_path(std::string_view text) {
  return text.starts_with("/") || text.starts_with("./") || text.starts_with("../");
}

// A name inside the model store: one path component that cannot lead out of it.
bool is_store_entry(std::string_view name) {
  return name != "." && name != ".." && name.size() <= 255 &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
                  c == '-';
         });
}

bool has_control_bytes(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

Refusal assign_path(std::string& target, const std::string& text, std::size_t size_max,
                    bool may_be_empty) {
  if (text.empty() && !may_be_empty) return "is empty; give a path";
  if (has_control_bytes(text)) return "holds control characters; give a path without them";
  if (text.size() > size_max) {
    return "has " + std::to_string(text.size()) + " bytes; a path here has at most " +
           std::to_string(size_max);
  }
  target = text;
  return std::nullopt;
}

Refusal assign_socket(std::string& target, const std::string& text) {
  if (!text.empty() && text.back() == '/') return "names a directory; name a file in it";
  return assign_path(target, text, kSocketPathMax, false);
}

Refusal assign_backend(std::string& target, const std::string& text) {
  const bool shaped =
      !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
        return is_lower_or_digit(c) || c == '/' || c == '_' || c == '-';
      });
  if (!shaped) return "is no backend's name; give auto, cpu, or a target such as cpu/avx2";
  target = text;
  return std::nullopt;
}

// "64", "-1", and for sizes "2MiB": nothing when `text` is no such number or does not fit.
std::optional<std::int64_t> parse_whole(std::string_view text, bool is_size) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, number);
  if (problem != std::errc()) return std::nullopt;
  std::string_view suffix(stop, static_cast<std::size_t>(end - stop));
  if (suffix.empty()) return number;
  if (!is_size || number < 0) return std::nullopt;
  if (suffix.front() == ' ') suffix.remove_prefix(1);
  const std::uint64_t factor = suffix == "KiB"   ? 1ULL << 10
                               : suffix == "MiB" ? 1ULL << 20
                               : suffix == "GiB" ? 1ULL << 30
                                                 : 0;
  const auto bytes = base::checked_mul(static_cast<std::uint64_t>(number), factor);
  if (factor == 0 || !bytes || *bytes > std::numeric_limits<std::int64_t>::max()) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(*bytes);
}

// "auto, fp32 or bf16"
std::string words_text(std::span<const std::string_view> words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool last = i + 1 == words.size();
    text += (i == 0 ? "" : last ? " or " : ", ") + std::string(words[i]);
  }
  return text;
}

Refusal assign_word(const Word& target, const std::string& text) {
  if (std::ranges::find(target.words, text) == target.words.end()) {
    return "is none of its words; give " + words_text(target.words);
  }
  *target.value = text;
  return std::nullopt;
}

Refusal assign_choice(const Choice& target, const std::string& text) {
  const auto found = std::ranges::find(target.words, text);
  if (found == target.words.end()) {
    const std::vector<std::string> words(target.words.begin(), target.words.end());
    return "is none of its words; give " + words_text(target.words) +
           base::did_you_mean(text, words);
  }
  target.set(static_cast<std::size_t>(found - target.words.begin()));
  return std::nullopt;
}

Refusal assign_level(base::LogLevel& target, const std::string& text) {
  const auto* found = std::find(std::begin(kLevels), std::end(kLevels), text);
  if (found == std::end(kLevels)) return "is not one of debug, info, warn, error";
  target = static_cast<base::LogLevel>(found - std::begin(kLevels));
  return std::nullopt;
}

Refusal assign_ids(std::vector<std::uint32_t>& target, const std::vector<std::string>& texts) {
  if (texts.size() > kIdsMax) return "has more than " + std::to_string(kIdsMax) + " numbers";
  std::vector<std::uint32_t> ids;
  for (const std::string& text : texts) {
    const auto id = parse_whole(text, false);
    // 2^32 - 1 is the kernel's "no user".
    if (!id || *id < 0 || *id >= std::numeric_limits<std::uint32_t>::max()) {
      return "holds " + quoted(text) + ", which is no numeric id; give numbers like 1000, as " +
             "\"id\" prints them";
    }
    ids.push_back(static_cast<std::uint32_t>(*id));
  }
  target = std::move(ids);
  return std::nullopt;
}

Refusal assign_address(std::string& target, const std::string& text) {
  if (!text.empty() && !base::parse_address(text)) {
    return "is not an IP address with a port; give one like 127.0.0.1:9464 or [::1]:9464";
  }
  target = text;
  return std::nullopt;
}

// Sorts the prompts of a service, for an error that names it.
Refusal check_prompts(Service& service) {
  const std::string of = "has for " + quoted(service.name) + " ";
  if (service.prompts.size() > kPromptsMax) {
    return of + std::to_string(service.prompts.size()) + " prompts; at most " +
           std::to_string(kPromptsMax) + " are kept";
  }
  for (const Prompt& prompt : service.prompts) {
    if (prompt.name.empty() || prompt.name.size() > kPromptNameMax ||
        has_control_bytes(prompt.name) || base::find_invalid_utf8(prompt.name)) {
      return of + "a prompt called " + quoted(prompt.name) + "; a name is 1 to " +
             std::to_string(kPromptNameMax) + " bytes of text";
    }
    if (prompt.text.size() > kPromptTextMax || base::find_invalid_utf8(prompt.text)) {
      return of + "a prompt " + quoted(prompt.name) + " that is longer than " +
             std::to_string(kPromptTextMax) + " bytes, or not UTF-8";
    }
  }
  std::sort(service.prompts.begin(), service.prompts.end(),
            [](const Prompt& a, const Prompt& b) { return a.name < b.name; });
  return std::nullopt;
}

Refusal assign_services(std::vector<Service>& target, std::vector<Service> services) {
  if (services.size() > kServicesMax) {
    return "has " + std::to_string(services.size()) + " services; at most " +
           std::to_string(kServicesMax) + " fit in one sidecar";
  }
  for (Service& service : services) {
    if (!is_service_name(service.name)) {
      return "has a service called " + quoted(service.name) +
             "; a name is 1 to 63 of a-z, 0-9, '.', '_' and '-'";
    }
    if (service.model.empty()) {
      return "gives no model for " + quoted(service.name) + "; give a directory or a store entry";
    }
    std::string path;
    if (const Refusal why = assign_path(path, service.model, kPathMax, false)) {
      return "has for " + quoted(service.name) + " a model that " + *why;
    }
    if (!is_model_path(path) && !is_store_entry(path)) {
      return "has for " + quoted(service.name) + " the model " + quoted(path) +
             ", which is no entry of a store; a path starts with /, ./ or ../";
    }
    if (const Refusal why = check_prompts(service)) return why;
  }
  std::sort(services.begin(), services.end(),
            [](const Service& a, const Service& b) { return a.name < b.name; });
  const auto twin =
      std::adjacent_find(services.begin(), services.end(),
                         [](const Service& a, const Service& b) { return a.name == b.name; });
  if (twin != services.end()) return "has " + quoted(twin->name) + " twice; names are unique";
  target = std::move(services);
  return std::nullopt;
}

Refusal assign_services_text(std::vector<Service>& target, const std::string& text) {
  std::vector<Service> services;
  for (const std::string& part : split_commas(text)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) {
      return "has " + quoted(part) + " where name=model belongs";
    }
    services.push_back({.name = part.substr(0, equals), .model = part.substr(equals + 1)});
  }
  return assign_services(target, std::move(services));
}

template <typename T>
Refusal assign_whole(const Field& field, const Whole<T>& target, const std::string& text) {
  if (target.automatic && text == "auto") {
    *target.value = *target.automatic;
    return std::nullopt;
  }
  const auto number = parse_whole(text, field.unit == "bytes");
  const std::string right = "; give " + bounds_text(field);
  if (!number) return "is no whole number" + right;
  // Every bound fits in 64 signed bits (the largest is a GiB).
  const bool inside = *number >= static_cast<std::int64_t>(target.min) &&
                      *number <= static_cast<std::int64_t>(target.max);
  const bool is_automatic =
      target.automatic && *number == static_cast<std::int64_t>(*target.automatic);
  if (!is_automatic && !inside) return "is out of bounds" + right;
  *target.value = static_cast<T>(*number);
  return std::nullopt;
}

// What was written, for an error.
std::string written_text(const Setting& setting) {
  return std::visit(Overloaded{
                        [](const std::string& text) { return quoted(text); },
                        [](const std::vector<std::string>& list) {
                          return "a list of " + std::to_string(list.size());
                        },
                        [](const std::vector<Service>& services) {
                          return "a map of " + std::to_string(services.size());
                        },
                    },
                    setting.written);
}

Refusal try_assign(const Field& field, const Setting& setting) {
  const auto* text = std::get_if<std::string>(&setting.written);
  const auto* list = std::get_if<std::vector<std::string>>(&setting.written);
  const auto* services = std::get_if<std::vector<Service>>(&setting.written);
  if (const auto* ids = std::get_if<Ids>(&field.target)) {
    if (services != nullptr) return "is a map; give a list of numbers, such as [1000, 1001]";
    return assign_ids(*ids->value, list != nullptr ? *list : split_commas(*text));
  }
  if (const auto* map = std::get_if<Services>(&field.target)) {
    if (list != nullptr) return "is a list; give a map of names to models";
    return services != nullptr ? assign_services(*map->value, *services)
                               : assign_services_text(*map->value, *text);
  }
  if (text == nullptr) return "is not a single value; give a " + type_text(field);
  return std::visit(
      Overloaded{
          [&](const SocketPath& target) { return assign_socket(*target.value, *text); },
          [&](const Path& target) {
            return assign_path(*target.value, *text, kPathMax, target.may_be_empty);
          },
          [&](const ListenAddress& target) { return assign_address(*target.value, *text); },
          [&](const BackendName& target) { return assign_backend(*target.value, *text); },
          [&](const Word& target) { return assign_word(target, *text); },
          [&](const Choice& target) { return assign_choice(target, *text); },
          [&](const Level& target) { return assign_level(*target.value, *text); },
          [](const Ids&) { return Refusal(); },       // above
          [](const Services&) { return Refusal(); },  // above
          [&](const auto& whole) { return assign_whole(field, whole, *text); },
      },
      field.target);
}

// In the largest unit that leaves a whole number: "2 MiB", "1500".
std::string size_text(std::uint64_t bytes, std::string_view space) {
  constexpr std::string_view kUnits[] = {"", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  while (unit + 1 < std::size(kUnits) && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  std::string text = std::to_string(bytes);
  if (unit > 0) text += std::string(space) + std::string(kUnits[unit]);
  return text;
}

}  // namespace

void Problems::add(std::string sentence) {
  ++count;
  if (sentences.size() < kMax) sentences.push_back(std::move(sentence));
}

base::Error Problems::error() const {
  CHECK(!none());
  if (count == 1) return {base::Code::kInvalid, sentences.front()};
  std::string text = std::to_string(count) + " problems in the configuration:";
  for (const std::string& sentence : sentences) text += "\n  " + sentence;
  if (count > kMax) text += "\n  (and " + std::to_string(count - kMax) + " more)";
  return {base::Code::kInvalid, text};
}

void assign(const Field& field, const Setting& setting, Problems& problems) {
  if (const Refusal why = try_assign(field, setting)) {
    problems.add(std::string(field.name) + " = " + written_text(setting) + " (" + setting.where +
                 ") " + *why);
  }
}

std::string value_text(const Field& field) {
  return std::visit(
      Overloaded{
          [](const SocketPath& target) { return *target.value; },
          [](const Path& target) { return *target.value; },
          [](const ListenAddress& target) { return *target.value; },
          [](const BackendName& target) { return *target.value; },
          [](const Word& target) { return *target.value; },
          [](const Choice& target) { return std::string(target.words[target.get()]); },
          [](const Level& target) { return std::string(kLevels[static_cast<int>(*target.value)]); },
          [](const Ids& target) {
            std::string text;
            for (const std::uint32_t id : *target.value) {
              text += (text.empty() ? "" : ",") + std::to_string(id);
            }
            return text;
          },
          [](const Services& target) {
            std::string text;
            for (const Service& service : *target.value) {
              text += (text.empty() ? "" : ",") + service.name + "=" + service.model;
            }
            return text;
          },
          [&field](const auto& whole) {
            if (whole.automatic && *whole.value == *whole.automatic) return std::string("auto");
            if (field.unit != "bytes") return std::to_string(*whole.value);
            return size_text(static_cast<std::uint64_t>(*whole.value), "");
          },
      },
      field.target);
}

std::string type_text(const Field& field) {
  return std::visit(
      Overloaded{
          [](const SocketPath&) { return std::string("path of a Unix socket"); },
          [](const Path&) { return std::string("path"); },
          [](const ListenAddress&) { return std::string("place to listen at"); },
          [](const BackendName&) { return std::string("backend's name"); },
          [](const Word&) { return std::string("word"); },
          [](const Choice&) { return std::string("word"); },
          [](const Level&) { return std::string("word"); },
          [](const Ids&) { return std::string("list of numeric ids"); },
          [](const Services&) { return std::string("map of names to models"); },
          [&](const auto&) { return std::string(field.unit == "bytes" ? "size" : "whole number"); },
      },
      field.target);
}

std::string bounds_text(const Field& field) {
  return std::visit(
      Overloaded{
          [](const SocketPath&) { return "1 to " + std::to_string(kSocketPathMax) + " bytes"; },
          [](const Path& target) {
            return (target.may_be_empty ? "0 to " : "1 to ") + std::to_string(kPathMax) + " bytes";
          },
          [](const ListenAddress&) { return std::string("127.0.0.1:9464, [::1]:9464, or empty"); },
          [](const BackendName&) { return std::string(); },
          [](const Word& target) { return words_text(target.words); },
          [](const Choice& target) { return words_text(target.words); },
          [](const Level&) { return std::string("debug, info, warn or error"); },
          [](const Ids&) { return "at most " + std::to_string(kIdsMax) + " ids"; },
          [](const Services&) { return "1 to " + std::to_string(kServicesMax) + " services"; },
          [&](const auto& whole) {
            std::string text = whole.automatic ? "auto, or " : "";
            if (field.unit == "bytes") {
              const auto min = static_cast<std::uint64_t>(whole.min);
              const auto max = static_cast<std::uint64_t>(whole.max);
              return text + size_text(min, " ") + (min % 1024 != 0 ? " bytes" : "") + " to " +
                     size_text(max, " ") + " (a number of bytes, or one with KiB, MiB, GiB)";
            }
            text += std::to_string(whole.min) + " to " + std::to_string(whole.max);
            if (!field.unit.empty()) text += " " + std::string(field.unit);
            return text;
          },
      },
      field.target);
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 120;
  std::string out = "\"";
  for (const char c : text.substr(0, kShown)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x",
                    static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + (text.size() > kShown ? "...\"" : "\"");
}

}  // namespace nacelle::config
