#include "sidecar/result_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>

#include "sidecar/base/file.h"
#include "sidecar/base/log.h"
#include "sidecar/base/time.h"

namespace nacelle::sidecar {
namespace {

// How every user without a name in our user namespace appears: many, who must not share.
constexpr uid_t kOverflowUid = 65'534;

// A domain's name as that of a directory, and back: "" for a directory that is none's.
std::string folder_of(std::string name) {
  std::ranges::replace(name, ':', '-');
  return name;
}
std::string domain_of(const std::string& folder) {
  constexpr std::string_view kUid = "uid-";
  if (folder == "pod") return folder;
  const bool digits = folder.size() > kUid.size() && folder.starts_with(kUid) &&
                      folder.find_first_not_of("0123456789", kUid.size()) == std::string::npos;
  return digits ? "uid:" + folder.substr(kUid.size()) : "";
}

cache::Durability durability_of(std::string_view word) {
  if (word == "always") return cache::Durability::kAlways;
  return word == "none" ? cache::Durability::kNone : cache::Durability::kInterval;
}

}  // namespace

cache::Times cache_times() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return {.mono = base::now_ns(),
          .wall_ns = static_cast<std::int64_t>(time.tv_sec) * base::kSecond + time.tv_nsec};
}

base::Result<base::Fd> CacheDomain::add_reader() {
  const std::lock_guard lock(mutex_);
  return table_->add_reader();
}

void CacheDomain::remove_reader(int touches) {
  const std::lock_guard lock(mutex_);
  table_->remove_reader(touches);
}

bool CacheDomain::get(const shm::CacheKey& key, std::span<std::byte> head,
                      std::span<std::byte> body, cache::Times now) {
  const std::lock_guard lock(mutex_);
  return table_->get(key, head, body, now);
}

void CacheDomain::put(std::span<const cache::Entry> entries, cache::Times now) {
  {
    const std::lock_guard lock(mutex_);
    for (const cache::Entry& entry : entries)
      [[maybe_unused]] const bool fits = table_->put(entry, now);
  }
  // What it cannot write it counts and logs itself: an answer does not wait for a disk's health.
  if (journal_) [[maybe_unused]]
    const base::Status written = journal_->append(entries);
}

base::Status CacheDomain::persist(cache::JournalOptions options) {
  options.keep = [this](const cache::Entry& entry) {
    const std::lock_guard lock(mutex_);
    return table_->holds(entry.key, entry.created_wall_ns);
  };
  const cache::Times now = cache_times();
  const base::Nanos begin = base::now_ns();
  auto journal = cache::Journal::open(
      cache::real_files(), options,
      {.put =
           [&](const cache::Entry& entry) {
             [[maybe_unused]] const bool fits = table_->put(entry, now);
           },
       .erase = [&](const shm::CacheKey& key) { table_->invalidate(key); },
       .purge =
           [&](std::optional<std::uint32_t> service) {
             service ? table_->invalidate_service(*service) : table_->invalidate_all();
           }});
  if (!journal) return journal.error();
  journal_ = *std::move(journal);
  const cache::JournalStats found = journal_->stats();
  base::log_info("result cache read from disk",
                 {{"domain", name_},
                  {"answers", table_->stats().entries},
                  {"bytes", found.recovered_bytes},
                  {"damaged", found.damaged},
                  {"ms", (base::now_ns() - begin) / base::kMillisecond}});
  return base::ok();
}

void CacheDomain::sync() {
  if (journal_) [[maybe_unused]]
    const base::Status synced = journal_->sync();
}

std::optional<cache::JournalStats> CacheDomain::disk() const {
  if (!journal_) return std::nullopt;
  return journal_->stats();
}

cache::TableStats CacheDomain::maintain(cache::Times now) {
  const std::lock_guard lock(mutex_);
  table_->maintain(now);
  return table_->stats();
}

CacheMember::~CacheMember() {
  if (touches_) domain_->remove_reader(touches_.get());
}

shm::CacheOffer CacheMember::offer() const {
  if (!touches_) return {};
  return {.region = domain_->region(), .touches = touches_.get()};
}

ResultCache::ResultCache(const Config::Cache& config, std::uint32_t readers_max)
    : config_(config), readers_max_(readers_max) {}

cache::TableOptions ResultCache::options() const {
  return {.memory_bytes = config_.memory_bytes, .readers_max = readers_max_};
}

base::Status ResultCache::open() {
  if (config_.memory_bytes == 0) return base::ok();
  const auto geometry = cache::plan_geometry(options());
  if (!geometry) return geometry.error().in("cache.memory_bytes");
  if (config_.directory.empty()) return base::ok();
  if (base::Status locked = lock_directory(); !locked) return locked;
  std::vector<std::string> names;
  if (cache::real_files().list(config_.directory, cache::kNamesMax, names) != 0) return base::ok();
  std::ranges::sort(names);
  for (const std::string& name : names) {
    const std::string found = domain_of(name);
    if (found.empty() || (found == "pod") != (config_.domain == "pod")) continue;
    if (domains_.size() >= config_.domains_max) break;
    domain(found);
  }
  return base::ok();
}

// One sidecar at a time: two would each take the other's answers for damage.
base::Status ResultCache::lock_directory() {
  cache::Files& files = cache::real_files();
  const auto failed = [this](int error) {
    return base::Error{
        base::Code::kUnavailable,
        config_.directory + ": " + base::errno_text(-error) + " (option cache.directory)"};
  };
  if (const int made = files.make_directory(config_.directory); made != 0) return failed(made);
  const std::string path = config_.directory + "/lock";
  if (const int opened = cache::open_file(files, path, cache::OpenFor::kLocking, lock_);
      opened != 0) {
    return failed(opened);
  }
  const int locked = cache::lock_file(files, lock_.get());
  if (locked == -EWOULDBLOCK) {
    return base::Error{base::Code::kBusy, config_.directory +
                                              " belongs to another sidecar that is running: give "
                                              "each its own (option cache.directory)"};
  }
  if (locked != 0) return failed(locked);
  return base::ok();
}

// With its journal, where there is a directory. A journal that cannot be had is logged: then the
// domain is in memory alone.
base::Result<std::shared_ptr<CacheDomain>> ResultCache::make_domain(const std::string& name) const {
  auto table = cache::Table::create(options());
  if (!table) return table.error();
  auto made = std::make_shared<CacheDomain>(name, *std::move(table));
  if (config_.directory.empty()) return made;
  cache::JournalOptions journal;
  journal.directory = config_.directory + "/" + folder_of(name);
  journal.bytes_max = config_.disk_bytes;
  journal.durability = durability_of(config_.durability);
  if (base::Status persisted = made->persist(std::move(journal)); !persisted) {
    base::log_error("a result cache is kept in memory only",
                    {{"domain", name}, {"error", persisted.error().message}});
  }
  return made;
}

std::string ResultCache::name_for(const shm::Peer& peer) const {
  if (config_.memory_bytes == 0) return "";
  if (config_.domain == "pod") return "pod";
  return peer.uid == kOverflowUid ? "" : "uid:" + std::to_string(peer.uid);
}

std::shared_ptr<CacheMember> ResultCache::join(const shm::Peer& peer, bool reads) {
  const std::string name = name_for(peer);
  if (name.empty()) return nullptr;
  std::shared_ptr<CacheDomain> joined = domain(name);
  if (!joined) return nullptr;
  base::Fd touches;
  if (reads) {
    base::Result<base::Fd> page = joined->add_reader();
    if (page) {
      touches = *std::move(page);
    } else {
      base::log_warn("a client does not read the cache itself",
                     {{"domain", name}, {"error", page.error().message}});
    }
  }
  return std::make_shared<CacheMember>(std::move(joined), std::move(touches));
}

// The domain of this name, made if there is none; null when it cannot be.
std::shared_ptr<CacheDomain> ResultCache::domain(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::ranges::find_if(domains_, [&](const auto& domain) { return domain->name() == name; });
  if (found != domains_.end()) {
    std::rotate(found, found + 1, domains_.end());
    return domains_.back();
  }
  if (domains_.size() >= config_.domains_max) {
    // Ours is the only pointer to one without clients.
    const auto unused =
        std::ranges::find_if(domains_, [](const auto& domain) { return domain.use_count() == 1; });
    if (unused == domains_.end()) {
      base::log_warn("a client has no cache: all domains have clients",
                     {{"domain", name}, {"cache.domains_max", config_.domains_max}});
      return nullptr;
    }
    domains_.erase(unused);
  }
  auto made = make_domain(name);
  if (!made) {
    base::log_error("a client has no cache", {{"domain", name}, {"error", made.error().message}});
    return nullptr;
  }
  domains_.push_back(*std::move(made));
  return domains_.back();
}

std::vector<std::shared_ptr<CacheDomain>> ResultCache::domains() const {
  const std::lock_guard lock(mutex_);
  return domains_;
}

void put_rows(const Request& request, const ServicePolicy& policy, cache::Times now) {
  if (request.to_cache.empty()) return;
  const std::byte* reports = request.reply.data() + shm::reports_offset(request.plan.with_format);
  const auto report_at = [reports](std::uint32_t text) {
    return std::span(reports + std::size_t{text} * sizeof(shm::ItemReport),
                     sizeof(shm::ItemReport));
  };
  const auto tokens_of = [&](const ToCache& row) {
    shm::ItemReport report;
    std::memcpy(&report, report_at(row.text).data(), sizeof report);
    return std::uint64_t{report.tokens};
  };
  std::uint64_t tokens = 0;
  for (const ToCache& row : request.to_cache) tokens += tokens_of(row);
  const double token_ns =
      static_cast<double>(request.share) / static_cast<double>(std::max<std::uint64_t>(tokens, 1));
  std::vector<cache::Entry> entries;
  try {
    entries.reserve(request.to_cache.size());
  } catch (const std::bad_alloc&) {
    return;  // answers matter more
  }
  for (const ToCache& row : request.to_cache) {
    entries.push_back({.key = row.key,
                       .head = report_at(row.text),
                       .body = {request.row(row.text), request.plan.size},
                       .attributes = {.ttl_s = policy.cache_ttl_s,
                                      .service = request.service,
                                      .source = cache::Source::kOrganic,
                                      .compute_ns = static_cast<std::uint64_t>(
                                          token_ns * static_cast<double>(tokens_of(row)))},
                       .created_wall_ns = now.wall_ns});
  }
  request.client->cache->domain().put(entries, now);
}

}  // namespace nacelle::sidecar
