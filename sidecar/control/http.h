// Pages over HTTP, for probes and Prometheus: GET and HEAD of a few fixed paths, one request per
// connection, from one thread.
//
// Whoever can reach the address may ask, so everything is bounded: connections, the size of a
// request, the time to send it and the time to take the answer. Nothing that a client does or
// leaves undone keeps the others waiting. The bytes of a request go to Boost.Beast's parser; of
// what it says only method and path are used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"

namespace nacelle::control {

struct HttpPage {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

struct HttpRoute {
  std::string_view path;
  // Called on the server's thread; has to answer without waiting for a request in flight.
  std::function<HttpPage()> page;
};

struct HttpOptions {
  std::string listen = "";           // base/address.h; port 0: the system chooses one
  std::size_t connections_max = 16;  // at least 1; one more takes the oldest one's place
  int read_timeout_ms = 5'000;       // from the connection to the end of the request's head
  int write_timeout_ms = 10'000;
};

// The longest head of a request, in bytes.
inline constexpr std::uint32_t kHttpHeadMax = 8U << 10;

class HttpServer {
 public:
  // Listens and answers from now on. kInvalid for what is no address, kUnavailable when the system
  // refuses it.
  static base::Result<std::unique_ptr<HttpServer>> start(HttpOptions options,
                                                         std::vector<HttpRoute> routes);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const;

 private:
  class Loop;
  explicit HttpServer(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

// THE LIST of pages: /metrics, /healthz (the process lives), /readyz (it serves and does not
// drain). `metrics` and `serving` outlive the server.
std::vector<HttpRoute> all_pages(std::function<std::string()> metrics,
                                 std::function<bool()> serving);

}  // namespace nacelle::control
