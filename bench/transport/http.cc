// transport_http: HTTP/1.1 with keep-alive by cpp-httplib, over a Unix socket and over TCP.
#include <httplib.h>

#include "bench/transport/way.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;

constexpr const char* kType = "application/octet-stream";
constexpr std::size_t kThreads = 32;
constexpr int kNever = 1'000'000;  // seconds, and requests of a connection

class HttpCaller : public Caller {
 public:
  explicit HttpCaller(std::unique_ptr<httplib::Client> client) : client_(std::move(client)) {}
  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    const auto result = client_->Post("/null", reinterpret_cast<const char*>(request.data()),
                                      request.size(), kType);
    if (!result || result->status != 200 || result->body.size() != reply.size()) {
      return Error{Code::kUnavailable, "HTTP: " + httplib::to_string(result.error())};
    }
    std::memcpy(reply.data(), result->body.data(), reply.size());
    return base::ok();
  }

 private:
  std::unique_ptr<httplib::Client> client_;
};

base::Status serve(httplib::Server& server, const std::function<bool()>& listen) {
  // A thread stays with its connection; with fewer of them the others would wait for ever.
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_keep_alive_max_count(kNever * 1000UL);
  server.set_keep_alive_timeout(kNever);
  server.set_tcp_nodelay(true);
  server.Post("/null", [](const httplib::Request& request, httplib::Response& response) {
    if (request.body.size() != kRequestSize) {
      response.status = 400;
      return;
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(request.body.data());
    std::string body(wanted_size(bytes), '\0');
    make_reply(bytes, reinterpret_cast<std::byte*>(body.data()), body.size());
    response.set_content(std::move(body), kType);
  });
  return listen() ? base::ok() : cannot("listen for HTTP");
}

base::Status serve_unix(const std::string& folder, const Ready& ready) {
  httplib::Server server;
  const std::string path = folder + "/socket";
  server.set_address_family(AF_UNIX);
  return serve(server, [&] {
    if (!server.bind_to_port(path, 1)) return false;  // the port has no meaning here
    ready(path);
    return server.listen_after_bind();
  });
}

base::Status serve_tcp(const std::string& /*folder*/, const Ready& ready) {
  httplib::Server server;
  return serve(server, [&] {
    const int port = server.bind_to_any_port("127.0.0.1");
    if (port <= 0) return false;
    ready(std::to_string(port));
    return server.listen_after_bind();
  });
}

base::Result<std::unique_ptr<Caller>> connect(std::unique_ptr<httplib::Client> client) {
  client->set_keep_alive(true);
  client->set_tcp_nodelay(true);
  client->set_decompress(false);
  client->set_read_timeout(60);
  return std::unique_ptr<Caller>(std::make_unique<HttpCaller>(std::move(client)));
}

base::Result<std::unique_ptr<Caller>> connect_unix(const std::string& at) {
  auto client = std::make_unique<httplib::Client>(at);
  client->set_address_family(AF_UNIX);
  return connect(std::move(client));
}

base::Result<std::unique_ptr<Caller>> connect_tcp(const std::string& at) {
  return connect(std::make_unique<httplib::Client>("127.0.0.1", std::stoi(at)));
}

}  // namespace

std::span<const Way> ways() {
  static constexpr Way kWays[] = {{"http_unix", serve_unix, connect_unix},
                                  {"http_tcp", serve_tcp, connect_tcp}};
  return kWays;
}

}  // namespace nacelle::bench
