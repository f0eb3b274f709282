#include "shm/client_state.h"

#include <errno.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <thread>
#include <utility>

#include "shm/list_call.h"

namespace nacelle {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr Nanos kBackoffMin = 2 * base::kMillisecond;
constexpr Nanos kBackoffMax = 100 * base::kMillisecond;
// A client that finds all it wants in the cache asks nobody, so it would never learn that its
// sidecar is gone and another one there: it looks so often, and so often tries to connect, for so
// long.
constexpr Nanos kLookEvery = 50 * base::kMillisecond;
constexpr Nanos kTryEvery = 200 * base::kMillisecond;
constexpr Nanos kTryFor = 100 * base::kMillisecond;
constexpr std::size_t kServiceNameMax = 63;

base::Result<ServicePtr> parse_description(std::span<const std::byte> payload,
                                           std::uint64_t generation) {
  const Error bad{Code::kInternal,
                  "the sidecar described a service in a way this library cannot read"};
  shm::Description description;
  if (payload.size() < sizeof description) return bad;
  std::memcpy(&description, payload.data(), sizeof description);
  Service service;
  service.cache.generation = generation;
  service.handle = description.service;
  service.info.embed_width = description.embed_width;
  service.info.tokens_max = description.tokens_max;
  service.info.multi_label = description.multi_label != 0;
  service.info.digest.assign(description.digest, ::strnlen(description.digest, 64));
  service.info.architecture.assign(description.architecture,
                                   ::strnlen(description.architecture, 64));
  service.info.reranks = (description.ops >> static_cast<unsigned>(shm::Op::kRerank) & 1U) != 0;
  // A sidecar before version 1.2 truncates, and says 0; a newer one may know more than this
  // library.
  if (description.long_input > shm::LongInput::kService &&
      description.long_input <= shm::LongInput::kChunkMean) {
    service.info.long_input = description.long_input;
  }
  service.info.windows_max = std::max(description.windows_max, 1U);
  std::size_t offset = sizeof description;
  const auto read_names = [&](std::uint32_t count, std::vector<std::string>& names) {
    for (std::uint32_t i = 0; i < count; ++i) {
      std::uint32_t size = 0;
      if (!base::fits(offset, sizeof size, payload.size())) return false;
      std::memcpy(&size, payload.data() + offset, sizeof size);
      offset += sizeof size;
      if (!base::fits(offset, size, payload.size())) return false;
      names.emplace_back(reinterpret_cast<const char*>(payload.data() + offset), size);
      offset += size;
    }
    return true;
  };
  if (!read_names(description.labels, service.info.labels) ||
      !read_names(description.prompts, service.info.prompts)) {
    return bad;
  }
  shm::DescribedCache cache;  // since version 1.3
  if (base::fits(offset, sizeof cache, payload.size())) {
    std::memcpy(&cache, payload.data() + offset, sizeof cache);
    service.cache.answers = cache.answers;
    service.cache.domain.assign(cache.domain, ::strnlen(cache.domain, sizeof cache.domain));
    // A newer sidecar may know more modes than this library.
    if (cache.mode > shm::CacheMode::kService && cache.mode <= shm::CacheMode::kRefresh) {
      service.cache.mode = cache.mode;
    }
  }
  return ServicePtr(std::make_shared<Service>(std::move(service)));
}

}  // namespace

Client::State::State(ClientOptions wanted) : options(std::move(wanted)) {
  if (options.socket.empty()) {
    const char* path = std::getenv("NACELLE_SOCKET");
    options.socket = path != nullptr && *path != '\0' ? path : "/run/nacelle/nacelle.sock";
  }
  if (options.name.empty()) options.name = program_invocation_short_name;
  if (options.transport.empty()) {
    const char* transport = std::getenv("NACELLE_TRANSPORT");
    options.transport = transport != nullptr && *transport != '\0' ? transport : "shm";
  }
}

std::shared_ptr<shm::Link> Client::State::live_link() {
  const std::lock_guard lock(mutex);
  return live.link && !live.link->dead() ? live.link : nullptr;
}

// One attempt. Under `connecting`.
base::Result<std::shared_ptr<shm::Link>> Client::State::try_link(Nanos deadline) {
  shm::Hello hello;
  hello.features = options.transport == "socket" ? shm::kFeatureCarry : shm::kFeatureCache;
  std::memcpy(hello.name, options.name.data(),
              std::min(options.name.size(), sizeof hello.name - 1));
  base::Result<std::shared_ptr<shm::Link>> made = shm::Link::open(options.socket, hello, deadline);
  if (!made) return made;
  const std::lock_guard lock(mutex);
  if (live.link) rescued_before += live.link->rescued_by_timeout();
  live = {.link = *made, .cache = (*made)->cache(), .services = {}};
  return made;
}

base::Result<std::shared_ptr<shm::Link>> Client::State::link() {
  if (auto link = live_link()) return link;
  const std::lock_guard lock(connecting);
  if (auto link = live_link()) return link;
  const Nanos deadline = base::now_ns() + shm::bounded_ns(options.connect_timeout);
  {
    const std::lock_guard lock_live(mutex);
    if (live.link) rescued_before += live.link->rescued_by_timeout();
    live.link.reset();
    if (!live.cache) live = {};  // else its answers are good until there is another sidecar
  }
  std::minstd_rand random(std::random_device{}());
  for (Nanos pause = kBackoffMin;; pause = std::min(pause * 2, kBackoffMax)) {
    base::Result<std::shared_ptr<shm::Link>> made =
        try_link(std::max(deadline, base::now_ns() + kBackoffMax));
    if (made) return made;
    const Code code = made.error().code;
    const bool may_come = code == Code::kUnavailable || code == Code::kSidecarGone ||
                          code == Code::kBusy || code == Code::kDeadlineExceeded;
    // Half to all of the pause, so that many clients do not come back in one moment.
    const Nanos wait = pause / 2 + static_cast<Nanos>(random()) % (pause / 2);
    if (!may_come || base::now_ns() + wait >= deadline) return made.error();
    std::this_thread::sleep_for(std::chrono::nanoseconds(wait));
  }
}

Known Client::State::known(std::string_view name) {
  const Nanos now = base::now_ns();
  std::shared_ptr<shm::Link> link;
  {
    const std::lock_guard lock(mutex);
    if (!live.cache) return {};
    if (now < look_at) return known_now(name);
    look_at = now + kLookEvery;
    link = live.link;
  }
  if (!link || !link->look_alive()) {
    // Whoever is connecting already will find what there is.
    const std::unique_lock only_one(connecting, std::try_to_lock);
    if (only_one.owns_lock() && !live_link()) {
      const bool found = try_link(now + kTryFor).has_value();
      const std::lock_guard lock(mutex);
      if (!found) look_at = base::now_ns() + kTryEvery;
    }
  }
  const std::lock_guard lock(mutex);
  return known_now(name);
}

// Under the mutex.
Known Client::State::known_now(std::string_view name) const {
  const auto found = live.services.find(name);
  if (!live.cache || found == live.services.end() ||
      found->second->cache.generation != live.cache->generation()) {
    return {};
  }
  return {live.cache, found->second};
}

base::Result<ServicePtr> Client::State::service(const std::shared_ptr<shm::Link>& on,
                                                std::string_view name) {
  if (name.empty() || name.size() > kServiceNameMax) {
    return Error{Code::kInvalid,
                 "a service's name has 1 to 63 bytes, not " + std::to_string(name.size())};
  }
  // Before the sidecar is asked: what it says is then at least as new.
  const std::uint64_t generation = on->cache() ? on->cache()->generation() : 0;
  {
    const std::lock_guard lock(mutex);
    if (live.link == on) {
      const auto found = live.services.find(name);
      if (found != live.services.end() && found->second->cache.generation == generation) {
        return found->second;
      }
    }
  }
  const Nanos deadline = on->default_deadline(base::now_ns());
  base::Result<shm::Ticket> ticket = on->submit(
      {.op = shm::Op::kDescribe}, static_cast<std::uint32_t>(name.size()), deadline,
      [&](std::span<std::byte> out) { std::memcpy(out.data(), name.data(), name.size()); });
  if (!ticket) return ticket.error();
  base::Result<shm::Answer> answer = on->wait(*ticket);
  if (!answer) return answer.error();
  base::Result<ServicePtr> service = answer->fields.code == Code::kOk
                                         ? parse_description(answer->payload, generation)
                                         : base::Result<ServicePtr>(shm::error_of(*answer));
  on->finish(*ticket);
  if (!service) return service;
  const std::lock_guard lock(mutex);
  if (live.link == on) live.services.insert_or_assign(std::string(name), *service);
  return service;
}

}  // namespace nacelle
