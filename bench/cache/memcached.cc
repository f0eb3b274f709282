// cache_memcached: get over a Unix socket in the binary protocol. memcached is the other side.
#include <libmemcached/memcached.h>

#include "bench/cache/store.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;

struct Free {
  void operator()(memcached_st* context) const { memcached_free(context); }
  void operator()(char* value) const { free(value); }
};

class Memcached : public Store {
 public:
  explicit Memcached(std::string at) : at_(std::move(at)) {}

  base::Status reopen() override {
    const std::string how = "--SOCKET=\"" + at_ + "\" --BINARY-PROTOCOL";
    context_.reset(memcached(how.data(), how.size()));
    if (!context_) return Error{Code::kUnavailable, "memcached: no memory"};
    return base::ok();
  }
  base::Status put(std::string_view text, const Value& value) override {
    const std::string key = hex_key(text);
    const memcached_return_t done =
        memcached_set(context_.get(), key.data(), key.size(),
                      reinterpret_cast<const char*>(value.data()), value.size(), 0, 0);
    if (done == MEMCACHED_SUCCESS) return base::ok();
    return Error{Code::kUnavailable,
                 std::string("memcached: ") + memcached_strerror(context_.get(), done)};
  }
  bool get(std::string_view text, Value& out) override {
    const std::string key = hex_key(text);
    std::size_t size = 0;
    std::uint32_t flags = 0;
    memcached_return_t done = MEMCACHED_SUCCESS;
    const std::unique_ptr<char, Free> value(
        memcached_get(context_.get(), key.data(), key.size(), &size, &flags, &done));
    if (!value || size != out.size()) return false;
    std::memcpy(out.data(), value.get(), size);
    return true;
  }

 private:
  std::string at_;
  std::unique_ptr<memcached_st, Free> context_;
};

base::Result<std::unique_ptr<Store>> open(const std::string& at, std::uint64_t) {
  auto store = std::make_unique<Memcached>(at);
  if (base::Status opened = store->reopen(); !opened) return opened.error();
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace

std::span<const StoreKind> stores() {
  static constexpr StoreKind kStores[] = {{"memcached", open}};
  return kStores;
}

}  // namespace nacelle::bench
