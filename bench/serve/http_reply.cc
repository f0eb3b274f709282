#include "bench/serve/http_reply.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace nacelle::bench::serve {
namespace {

bool same_name(std::string_view a, std::string_view lower) {
  return std::equal(a.begin(), a.end(), lower.begin(), lower.end(), [](char x, char y) {
    return (x >= 'A' && x <= 'Z' ? static_cast<char>(x - 'A' + 'a') : x) == y;
  });
}

template <typename Number>
bool read_number(std::string_view text, Number& value) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::optional<HttpReply> parse_reply(std::string_view bytes) {
  HttpReply reply;
  const std::size_t head = bytes.find("\r\n\r\n");
  if (head == std::string_view::npos) {
    if (bytes.size() <= kHttpReplyMax) return std::nullopt;
    reply.broken = true;
    return reply;
  }
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  std::optional<std::size_t> body;
  std::string_view lines = bytes.substr(0, head);
  const std::string_view first = lines.substr(0, lines.find("\r\n"));
  reply.broken = first.substr(0, kVersion.size()) != kVersion ||
                 !read_number(first.substr(kVersion.size(), 3), reply.status);
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find("\r\n"));
    lines.remove_prefix(std::min(line.size() + 2, lines.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, colon);
    if (same_name(name, "content-length")) {
      std::size_t size = 0;
      if (read_number(line.substr(colon + 1), size) && size <= kHttpReplyMax) body = size;
    } else if (same_name(name, "retry-after") &&
               !read_number(line.substr(colon + 1), reply.retry_after_s)) {
      reply.broken = true;
    }
  }
  if (!body) reply.broken = true;
  if (reply.broken) return reply;
  reply.size = head + 4 + *body;
  if (bytes.size() < reply.size) return std::nullopt;
  return reply;
}

std::string make_request(std::string_view text) {
  const std::string body = nlohmann::json{{"text", text}}.dump();
  return "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
         "Content-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace nacelle::bench::serve
