// The result caches of a sidecar: one for each domain of trust, that is for each user, or one for
// all (cache.domain). Clients of a domain read its cache by themselves; intake looks there for
// those that cannot, and what was computed is put there before it is answered.
//
// A domain's cache is one cache::Table behind a lock: intake's thread reads, the executing thread
// puts. With cache.directory there is a journal beside it, which fills the table at the start and
// is written behind it. Any thread may use what is here.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shm/shm.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/cache/cache.h"
#include "sidecar/cache/files.h"
#include "sidecar/cache/journal.h"
#include "sidecar/config.h"
#include "sidecar/flow.h"

namespace nacelle::sidecar {

class CacheDomain {
 public:
  CacheDomain(std::string name, std::unique_ptr<cache::Table> table)
      : name_(std::move(name)), table_(std::move(table)) {}
  // Fills the table from a journal and writes to it from then on. Before anybody else has this
  // object. kBusy when another process has the directory.
  base::Status persist(cache::JournalOptions options);

  // A part of its keys: "uid:1000", "pod".
  [[nodiscard]] const std::string& name() const { return name_; }
  // Region C, to be handed to its clients.
  [[nodiscard]] int region() const { return table_->fd(); }
  [[nodiscard]] base::Result<base::Fd> add_reader();
  void remove_reader(int touches);

  [[nodiscard]] bool get(const shm::CacheKey& key, std::span<std::byte> head,
                         std::span<std::byte> body, cache::Times now);
  void put(std::span<const cache::Entry> entries, cache::Times now);
  // Takes in what clients have hit, frees what has expired, and says how things are.
  cache::TableStats maintain(cache::Times now);
  // Makes durable what was put. May wait for the disk.
  void sync();
  // Nothing without a journal.
  [[nodiscard]] std::optional<cache::JournalStats> disk() const;

 private:
  const std::string name_;
  std::mutex mutex_;  // of the table; never held while the journal is called, which asks the table
  std::unique_ptr<cache::Table> table_;
  std::unique_ptr<cache::Journal> journal_;  // null: memory alone. Has its own lock
};

// A client's part in its domain: its touch page, for as long as the client is there.
class CacheMember {
 public:
  CacheMember(std::shared_ptr<CacheDomain> domain, base::Fd touches)
      : domain_(std::move(domain)), touches_(std::move(touches)) {}
  ~CacheMember();
  CacheMember(const CacheMember&) = delete;
  CacheMember& operator=(const CacheMember&) = delete;

  [[nodiscard]] CacheDomain& domain() const { return *domain_; }
  // What it is given; nothing when it does not read the cache by itself.
  [[nodiscard]] shm::CacheOffer offer() const;

 private:
  std::shared_ptr<CacheDomain> domain_;
  base::Fd touches_;
};

class ResultCache {
 public:
  ResultCache(const Config::Cache& config, std::uint32_t readers_max);

  // Before anybody joins: whether its memory suffices for a cache at all (kInvalid says what
  // would), and all domains that are on disk. kBusy when another sidecar has the directory,
  // kUnavailable when there is none to be had.
  base::Status open();
  // For a client of this user, who reads the cache itself or not; null when it has none. A cache
  // that cannot be made is logged: it is no reason not to serve.
  std::shared_ptr<CacheMember> join(const shm::Peer& peer, bool reads);
  [[nodiscard]] std::vector<std::shared_ptr<CacheDomain>> domains() const;

 private:
  [[nodiscard]] std::string name_for(const shm::Peer& peer) const;
  [[nodiscard]] cache::TableOptions options() const;
  std::shared_ptr<CacheDomain> domain(const std::string& name);
  base::Result<std::shared_ptr<CacheDomain>> make_domain(const std::string& name) const;
  base::Status lock_directory();

  const Config::Cache config_;
  const std::uint32_t readers_max_;
  cache::OpenFile lock_;  // of cache.directory, for as long as this process lives
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<CacheDomain>> domains_;  // the one that was joined last, last
};

// Puts the computed rows of a request into its client's cache. Before it is answered: afterwards
// the client may give the rows' memory back, and ask again at once.
void put_rows(const Request& request, const ServicePolicy& policy, cache::Times now);

// Both clocks.
cache::Times cache_times();

}  // namespace nacelle::sidecar
