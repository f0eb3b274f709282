// cache_lmdb: a memory-mapped B+ tree in a file, read in the process itself.
#include <lmdb.h>
#include <openssl/sha.h>

#include "bench/cache/store.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;

base::Status status(int done) {
  if (done == 0) return base::ok();
  return Error{Code::kUnavailable, std::string("LMDB: ") + mdb_strerror(done)};
}

struct Close {
  void operator()(MDB_env* environment) const { mdb_env_close(environment); }
};

class Lmdb : public Store {
 public:
  Lmdb(std::string at, std::uint64_t entries) : at_(std::move(at)), entries_(entries) {}

  // A forked child must open its own environment.
  base::Status reopen() override {
    [[maybe_unused]] MDB_env* inherited = environment_.release();
    MDB_env* made = nullptr;
    if (const int done = mdb_env_create(&made); done != 0) return status(done);
    environment_.reset(made);
    // Room for half as much again as the values take, in pages of 4 KiB with two values each.
    mdb_env_set_mapsize(made, (entries_ + 1000) * 4096);
    mdb_env_set_maxreaders(made, 126);
    if (const int done = mdb_env_open(made, at_.c_str(), MDB_NOSYNC | MDB_WRITEMAP, 0600);
        done != 0) {
      return status(done);
    }
    MDB_txn* transaction = nullptr;
    if (const int done = mdb_txn_begin(made, nullptr, 0, &transaction); done != 0) {
      return status(done);
    }
    if (const int done = mdb_dbi_open(transaction, nullptr, 0, &table_); done != 0) {
      return status(done);
    }
    return status(mdb_txn_commit(transaction));
  }
  base::Status put(std::string_view text, const Value& value) override {
    MDB_txn* transaction = nullptr;
    if (const int done = mdb_txn_begin(environment_.get(), nullptr, 0, &transaction); done != 0) {
      return status(done);
    }
    Digest digest = key_of(text);
    MDB_val key{digest.size(), digest.data()};
    MDB_val data{value.size(), const_cast<std::byte*>(value.data())};
    if (const int done = mdb_put(transaction, table_, &key, &data, 0); done != 0) {
      mdb_txn_abort(transaction);
      return status(done);
    }
    return status(mdb_txn_commit(transaction));
  }
  bool get(std::string_view text, Value& out) override {
    // Renewed, not begun anew: the fastest that LMDB has.
    const int begun = reading_ == nullptr
                          ? mdb_txn_begin(environment_.get(), nullptr, MDB_RDONLY, &reading_)
                          : mdb_txn_renew(reading_);
    if (begun != 0) return false;
    Digest digest = key_of(text);
    MDB_val key{digest.size(), digest.data()};
    MDB_val data{};
    const bool there = mdb_get(reading_, table_, &key, &data) == 0 && data.mv_size == out.size();
    if (there) std::memcpy(out.data(), data.mv_data, out.size());
    mdb_txn_reset(reading_);
    return there;
  }

 private:
  using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;
  static Digest key_of(std::string_view text) {
    Digest digest;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    return digest;
  }
  std::string at_;
  std::uint64_t entries_;
  std::unique_ptr<MDB_env, Close> environment_;
  MDB_dbi table_ = 0;
  MDB_txn* reading_ = nullptr;
};

base::Result<std::unique_ptr<Store>> open(const std::string& at, std::uint64_t entries) {
  auto store = std::make_unique<Lmdb>(at, entries);
  if (base::Status opened = store->reopen(); !opened) return opened.error();
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace

std::span<const StoreKind> stores() {
  static constexpr StoreKind kStores[] = {{"lmdb", open}};
  return kStores;
}

}  // namespace nacelle::bench
