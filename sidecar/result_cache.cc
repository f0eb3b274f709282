#include "sidecar/result_cache.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "sidecar/base/log.h"
#include "sidecar/base/time.h"

namespace nacelle::sidecar {
namespace {

// How every user without a name in our user namespace appears: many, who must not share.
constexpr uid_t kOverflowUid = 65'534;

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
  const std::lock_guard lock(mutex_);
  for (const cache::Entry& entry : entries)
    [[maybe_unused]] const bool fits = table_->put(entry, now);
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

base::Status ResultCache::check() const {
  if (config_.memory_bytes == 0) return base::ok();
  const auto geometry = cache::plan_geometry(options());
  if (!geometry) return geometry.error().in("cache.memory_bytes");
  return base::ok();
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
  auto table = cache::Table::create(options());
  if (!table) {
    base::log_error("a client has no cache", {{"domain", name}, {"error", table.error().message}});
    return nullptr;
  }
  domains_.push_back(std::make_shared<CacheDomain>(name, *std::move(table)));
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
