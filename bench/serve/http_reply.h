// As much of HTTP/1.1 as a keep-alive client of one JSON endpoint needs.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace nacelle::bench::serve {

inline constexpr std::size_t kHttpReplyMax = 1 << 20;  // head and body

struct HttpReply {
  int status = 0;
  std::size_t size = 0;        // head and body: bytes of `bytes` that belong to it
  unsigned retry_after_s = 0;  // 0: none
  bool broken = false;         // not HTTP, without a Content-Length, or over kHttpReplyMax
};

// The reply at the begin of `bytes`; nothing while it is incomplete.
std::optional<HttpReply> parse_reply(std::string_view bytes);

// A request with the text in the body {"text": ...}.
std::string make_request(std::string_view text);

}  // namespace nacelle::bench::serve
