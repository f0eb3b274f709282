#include "sidecar/base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <ctime>

namespace nacelle::base {
namespace {

std::atomic<LogLevel> least{LogLevel::kInfo};

constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};

bool needs_quotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    if (c == ' ' || c == '"' || c == '=' || c == '\\' || static_cast<unsigned char>(c) < 0x20)
      return true;
  }
  return false;
}

// A value as it is, or quoted with the characters that would break the line escaped.
void append_value(std::string& line, std::string_view text) {
  if (!needs_quotes(text)) {
    line += text;
    return;
  }
  line += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      line += escaped;
    } else {
      line += c;
    }
  }
  line += '"';
}

}  // namespace

void set_log_level(LogLevel level) { least.store(level, std::memory_order_relaxed); }

void log(LogLevel level, std::string_view sentence, std::initializer_list<LogField> fields) {
  if (level < least.load(std::memory_order_relaxed)) return;
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  tm utc{};
  gmtime_r(&time.tv_sec, &utc);
  char stamp[96];
  std::snprintf(stamp, sizeof stamp, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                time.tv_nsec / 1'000'000);
  std::string line = stamp;
  line += ' ';
  line += kNames[static_cast<int>(level)];
  line += ' ';
  append_value(line, sentence);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.name;
    line += '=';
    append_value(line, field.text);
  }
  line += '\n';
  // A log that cannot be written must not stop the program that writes it.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace nacelle::base
