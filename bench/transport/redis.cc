// transport_redis: GET of a stored reply over a Unix socket. redis-server is the other side.
#include <hiredis/hiredis.h>

#include <array>

#include "bench/transport/way.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;

struct Free {
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, Free>;

class RedisCaller : public Caller {
 public:
  explicit RedisCaller(redisContext* context) : context_(context) {}

  // Stores the reply of each request, under the request's bytes.
  base::Status prepare(std::uint32_t reply_size) override {
    std::array<std::byte, kRequestSize> request;
    std::string value(reply_size, '\0');
    for (std::uint32_t serial = 0; serial < kSerials; ++serial) {
      make_request(request, reply_size, serial);
      make_reply(request.data(), reinterpret_cast<std::byte*>(value.data()), value.size());
      const Reply stored(
          static_cast<redisReply*>(redisCommand(context_.get(), "SET %b %b", request.data(),
                                                request.size(), value.data(), value.size())));
      if (!stored || stored->type == REDIS_REPLY_ERROR) return failed();
    }
    return base::ok();
  }

  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    const Reply got(static_cast<redisReply*>(
        redisCommand(context_.get(), "GET %b", request.data(), request.size())));
    if (!got || got->type != REDIS_REPLY_STRING || got->len != reply.size()) return failed();
    std::memcpy(reply.data(), got->str, got->len);
    return base::ok();
  }

 private:
  [[nodiscard]] base::Status failed() const {
    return Error{Code::kUnavailable, std::string("Redis: ") + context_->errstr};
  }
  std::unique_ptr<redisContext, Free> context_;
};

base::Result<std::unique_ptr<Caller>> connect(const std::string& at) {
  redisContext* context = redisConnectUnix(at.c_str());
  if (context == nullptr) return Error{Code::kUnavailable, "Redis: no memory"};
  auto caller = std::make_unique<RedisCaller>(context);
  if (context->err != 0) return Error{Code::kUnavailable, std::string("Redis: ") + context->errstr};
  return std::unique_ptr<Caller>(std::move(caller));
}

}  // namespace

std::span<const Way> ways() {
  static constexpr Way kWays[] = {{"redis", nullptr, connect}};
  return kWays;
}

}  // namespace nacelle::bench
