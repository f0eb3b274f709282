// Structured log lines on standard error: a time, a level, a sentence and key=value fields.
//
// Lines mark changes of state (started, connected, refused, drained), never single requests, and
// never hold a request's text.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace nacelle::base {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarn = 2, kError = 3 };

struct LogField {
  LogField(std::string_view key, std::string_view value) : name(key), text(value) {}
  LogField(std::string_view key, const char* value) : name(key), text(value) {}
  LogField(std::string_view key, std::integral auto value)
      : name(key), text(std::to_string(value)) {}
  LogField(std::string_view key, double value) : name(key), text(std::to_string(value)) {}
  std::string_view name;
  std::string text;
};

// Lines below `level` are dropped. Set once at start.
void set_log_level(LogLevel level);

// One line, written with one call so that lines of different threads never mix.
void log(LogLevel level, std::string_view sentence, std::initializer_list<LogField> fields = {});

inline void log_debug(std::string_view s, std::initializer_list<LogField> f = {}) {
  log(LogLevel::kDebug, s, f);
}
inline void log_info(std::string_view s, std::initializer_list<LogField> f = {}) {
  log(LogLevel::kInfo, s, f);
}
inline void log_warn(std::string_view s, std::initializer_list<LogField> f = {}) {
  log(LogLevel::kWarn, s, f);
}
inline void log_error(std::string_view s, std::initializer_list<LogField> f = {}) {
  log(LogLevel::kError, s, f);
}

}  // namespace nacelle::base
