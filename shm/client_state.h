// What a client holds: its link, what it knows of services, and how it tells that it was forked.
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "shm/client.h"
#include "shm/link.h"
#include "sidecar/base/check.h"
#include "sidecar/base/result.h"

namespace nacelle {

inline std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

// A page that reads 0 in a forked child: how a client notices that it is a copy.
class ForkMark {
 public:
  ForkMark() {
    page_ = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page_ != MAP_FAILED);
    CHECK(::madvise(page_, kSize, MADV_WIPEONFORK) == 0);
    *static_cast<volatile char*>(page_) = 1;
  }
  ~ForkMark() { ::munmap(page_, kSize); }
  ForkMark(const ForkMark&) = delete;
  ForkMark& operator=(const ForkMark&) = delete;
  [[nodiscard]] bool forked() const { return *static_cast<volatile char*>(page_) == 0; }

 private:
  static constexpr std::size_t kSize = 4096;
  void* page_;
};

// A service as one link knows it. Shared and never changed: a call holds it while another asks
// anew.
struct Service {
  std::uint32_t handle = 0;
  ServiceInfo info;
  // What its answers are called in the cache; no domain: they are in none that we can read.
  struct Cached {
    std::array<std::byte, 32> answers{};
    std::string domain;
    shm::CacheMode mode = shm::CacheMode::kBypass;
    std::uint64_t generation = 0;  // of the region, before the sidecar was asked for all this
  } cache;
  // Numbers per row; 0: it does not do this.
  [[nodiscard]] std::uint32_t width(shm::Op op) const { return width_of(info, op); }
  static std::uint32_t width_of(const ServiceInfo& info, shm::Op op) {
    if (op == shm::Op::kEmbed) return info.embed_width;
    if (op == shm::Op::kRerank) return info.reranks ? 1 : 0;
    return static_cast<std::uint32_t>(info.labels.size());
  }
};

using ServicePtr = std::shared_ptr<const Service>;

// A service whose answers can be looked for. Null: ask the sidecar.
struct Known {
  std::shared_ptr<const shm::CacheReader> cache;
  ServicePtr service;
};

// What a client is, apart from its place in memory; a forked child makes itself a new one.
struct Client::State {
  struct Live {
    std::shared_ptr<shm::Link> link;                          // null once it is dead
    std::shared_ptr<const shm::CacheReader> cache;            // the link's, which it outlives
    std::map<std::string, ServicePtr, std::less<>> services;  // described on this link
  };

  explicit State(ClientOptions wanted);
  // A live link, made if there is none. Waits connect_timeout for a sidecar that is not there.
  base::Result<std::shared_ptr<shm::Link>> link();
  // What is known about the service on this link; asks the sidecar once, and again when the
  // region's generation is another.
  base::Result<ServicePtr> service(const std::shared_ptr<shm::Link>& on, std::string_view name);
  // What is known about it and has a cache, whether its sidecar lives or not: its answers hold
  // until there is another one to ask. That is looked for a few times a second, so most calls make
  // no system call.
  Known known(std::string_view name);

  // In a forked child: closes the parent's descriptors, so that the connection does not outlive the
  // parent. Not when another thread of the parent was changing `live` at the fork: then they stay
  // open here, and the sidecar has to see the parent's end by its pidfd.
  void close_inherited() {
    if (!mutex.try_lock()) return;
    if (live.link) live.link->close_inherited();
    mutex.unlock();
  }

  ClientOptions options;
  ForkMark mark;
  std::mutex mutex;                  // never held while waiting
  Live live;                         // under the mutex
  std::uint64_t rescued_before = 0;  // on links that are gone; under the mutex
  base::Nanos look_at = 0;           // when known() is to look at the socket; under the mutex

 private:
  std::shared_ptr<shm::Link> live_link();
  [[nodiscard]] Known known_now(std::string_view name) const;
  base::Result<std::shared_ptr<shm::Link>> try_link(base::Nanos deadline);
  // Held while a link is being made. Taken before the other one.
  std::mutex connecting;
};

}  // namespace nacelle
