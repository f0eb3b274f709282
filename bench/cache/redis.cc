// cache_redis: GET over a Unix socket. redis-server is the other side.
#include <hiredis/hiredis.h>

#include "bench/cache/store.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;

struct Free {
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, Free>;

class Redis : public Store {
 public:
  explicit Redis(std::string at) : at_(std::move(at)) {}

  base::Status reopen() override {
    context_.reset(redisConnectUnix(at_.c_str()));
    if (!context_) return Error{Code::kUnavailable, "Redis: no memory"};
    if (context_->err != 0) return failed();
    return base::ok();
  }
  base::Status put(std::string_view text, const Value& value) override {
    const std::string key = hex_key(text);
    const Reply stored(static_cast<redisReply*>(redisCommand(
        context_.get(), "SET %b %b", key.data(), key.size(), value.data(), value.size())));
    if (!stored || stored->type == REDIS_REPLY_ERROR) return failed();
    return base::ok();
  }
  bool get(std::string_view text, Value& out) override {
    const std::string key = hex_key(text);
    const Reply got(
        static_cast<redisReply*>(redisCommand(context_.get(), "GET %b", key.data(), key.size())));
    if (!got || got->type != REDIS_REPLY_STRING || got->len != out.size()) return false;
    std::memcpy(out.data(), got->str, got->len);
    return true;
  }

 private:
  [[nodiscard]] base::Status failed() const {
    return Error{Code::kUnavailable, std::string("Redis: ") + context_->errstr};
  }
  std::string at_;
  std::unique_ptr<redisContext, Free> context_;
};

base::Result<std::unique_ptr<Store>> open(const std::string& at, std::uint64_t) {
  auto store = std::make_unique<Redis>(at);
  if (base::Status opened = store->reopen(); !opened) return opened.error();
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace

std::span<const StoreKind> stores() {
  static constexpr StoreKind kStores[] = {{"redis", open}};
  return kStores;
}

}  // namespace nacelle::bench
