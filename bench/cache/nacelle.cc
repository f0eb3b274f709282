// cache_nacelle: ours, read through the shared table; and what a single process could do at best.
//
//   nacelle   a table as the sidecar has it; readers as in the client library
//   map       std::unordered_map<std::string, Value> of the process itself
//   array     the answers one behind the other, no key at all: a bare read of as many bytes
#include <unistd.h>

#include <charconv>
#include <unordered_map>
#include <vector>

#include "bench/cache/store.h"
#include "shm/cache_key.h"
#include "shm/cache_reader.h"
#include "sidecar/base/check.h"
#include "sidecar/cache/cache.h"

namespace nacelle::bench {
namespace {

cache::Times now() {
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  return {base::now_ns(), wall.tv_sec * base::kSecond + wall.tv_nsec};
}

class Nacelle : public Store {
 public:
  explicit Nacelle(std::unique_ptr<cache::Table> table) : table_(std::move(table)) {}

  base::Status reopen() override {
    reader_.reset();
    auto touches = table_->add_reader();
    if (!touches) return touches.error();
    auto reader =
        shm::CacheReader::open(base::Fd(::dup(table_->fd())), base::Fd(::dup(touches->get())));
    if (!reader) return reader.error();
    reader_ = *std::move(reader);
    return base::ok();
  }
  base::Status put(std::string_view text, const Value& value) override {
    const std::span<const std::byte> bytes(value);
    const cache::Times at = now();
    const cache::Entry entry{.key = keys_.of(text),
                             .head = bytes.first(kHeadSize),
                             .body = bytes.subspan(kHeadSize),
                             .attributes = {.ttl_s = 86'400, .compute_ns = 1'000'000},
                             .created_wall_ns = at.wall_ns};
    if (table_->put(entry, at)) return base::ok();
    return base::Error{base::Code::kInternal, "the table did not keep it"};
  }
  bool get(std::string_view text, Value& out) override {
    const std::span<std::byte> bytes(out);
    return reader_->get(keys_.of(text), bytes.first(kHeadSize), bytes.subspan(kHeadSize));
  }

 private:
  static constexpr std::array<std::byte, 32> kAnswers{};
  std::unique_ptr<cache::Table> table_;
  std::unique_ptr<shm::CacheReader> reader_;
  shm::CacheKeys keys_{{.domain = "uid:0", .answers = kAnswers}};
};

base::Result<std::unique_ptr<Store>> open_nacelle(const std::string&, std::uint64_t entries) {
  // Twice what the values take: nothing has to go, and a writer has room.
  const std::uint64_t bytes = (entries + 10'000) * (kValueSize + 128) * 2;
  auto table = cache::Table::create({.memory_bytes = bytes, .entry_bytes_typical = kValueSize});
  if (!table) return table.error();
  auto store = std::make_unique<Nacelle>(*std::move(table));
  if (base::Status opened = store->reopen(); !opened) return opened.error();
  return std::unique_ptr<Store>(std::move(store));
}

class Map : public Store {
 public:
  base::Status put(std::string_view text, const Value& value) override {
    values_[std::string(text)] = value;
    return base::ok();
  }
  bool get(std::string_view text, Value& out) override {
    const auto found = values_.find(std::string(text));
    if (found == values_.end()) return false;
    out = found->second;
    return true;
  }

 private:
  std::unordered_map<std::string, Value> values_;
};

base::Result<std::unique_ptr<Store>> open_map(const std::string&, std::uint64_t) {
  return std::unique_ptr<Store>(std::make_unique<Map>());
}

// The number is in the text; nothing else of it is looked at.
class Array : public Store {
 public:
  base::Status put(std::string_view text, const Value& value) override {
    const std::uint64_t i = number_in(text);
    if (i >= values_.size()) values_.resize(i + 1);
    values_[i] = value;
    return base::ok();
  }
  bool get(std::string_view text, Value& out) override {
    out = values_[number_in(text)];
    return true;
  }

 private:
  static std::uint64_t number_in(std::string_view text) {
    constexpr std::size_t kAt = std::string_view("How long may the tenant of flat ").size();
    std::uint64_t number = 0;
    std::from_chars(text.data() + kAt, text.data() + text.size(), number);
    return number;
  }
  std::vector<Value> values_;
};

base::Result<std::unique_ptr<Store>> open_array(const std::string&, std::uint64_t) {
  return std::unique_ptr<Store>(std::make_unique<Array>());
}

}  // namespace

std::span<const StoreKind> stores() {
  static constexpr StoreKind kStores[] = {
      {"nacelle", open_nacelle}, {"map", open_map}, {"array", open_array}};
  return kStores;
}

}  // namespace nacelle::bench
