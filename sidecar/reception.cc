// Intake's other half: clients that come and go, and the sleep between requests.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/file.h"
#include "sidecar/base/log.h"
#include "sidecar/base/memory.h"
#include "sidecar/intake.h"
#include "sidecar/result_cache.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

// A client says hello at once; one that does not makes room for others.
constexpr Nanos kHelloWithin = base::kSecond;
constexpr std::size_t kGuestsMax = 64;
constexpr int kEventsMax = 64;
// How long a doorbell may come after the request it announces, before it counts as lost.
constexpr int kDoorbellWithinMs = 2;

bool contains(const std::vector<std::uint32_t>& list, std::uint32_t id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

// How every user without a name in our user namespace appears: many, not one.
constexpr uid_t kOverflowUid = 65'534;

bool allowed(const Config::Transport& config, const shm::Peer& peer) {
  const bool ourselves = peer.uid == ::geteuid() && peer.uid != kOverflowUid;
  return peer.uid == 0 || ourselves || contains(config.allow_uids, peer.uid) ||
         contains(config.allow_gids, peer.gid);
}

std::uint32_t whole_pages(std::uint64_t size) {
  return static_cast<std::uint32_t>(base::align_up(size, 4096));
}

shm::Geometry geometry_of(const Config& config) {
  return {.slots = config.transport.slots,
          .request_arena_size = whole_pages(config.transport.request_arena_bytes),
          .reply_arena_size = whole_pages(config.transport.reply_arena_bytes),
          .stream_ring_size = std::bit_ceil(config.transport.stream_ring_bytes)};
}

// Clients bound their own waiting by the default deadline, whatever the service: the longest.
shm::Limits limits_of(const Config& config, const Services& services) {
  std::uint32_t deadline_ms = config.scheduler.deadline_default_ms;
  for (std::size_t i = 0; i < services.size(); ++i) {
    deadline_ms = std::max(deadline_ms, services.at(i).policy.deadline_ms);
  }
  return {.items_max = config.limits.items_max,
          .text_bytes_max = static_cast<std::uint32_t>(config.limits.text_bytes_max),
          .deadline_default_us = deadline_ms * 1000U};
}

}  // namespace

Intake::Intake(const Config& config, Services& services, Replier& replier, Counters& counters,
               Downstream downstream, shm::Listener listener)
    : config_(config),
      services_(services),
      replier_(replier),
      counters_(counters),
      downstream_(std::move(downstream)),
      listener_(std::move(listener)) {
  memory_max_ = config.transport.memory_bytes_max > 0 ? config.transport.memory_bytes_max
                                                      : base::memory_limit() / 2;
  spin_ = config.transport.spin_us < 0 ? shm::calibrated_spin_ns()
                                       : config.transport.spin_us * base::kMicrosecond;
}

base::Result<std::unique_ptr<Intake>> Intake::open(const Config& config, Services& services,
                                                   Replier& replier, Counters& counters,
                                                   Downstream downstream) {
  base::Result<shm::Listener> listener = shm::Listener::listen(config.socket);
  if (!listener) return listener.error();
  std::unique_ptr<Intake> intake(
      new Intake(config, services, replier, counters, std::move(downstream), *std::move(listener)));
  intake->epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  intake->stop_event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const bool random = ::getrandom(&intake->epoch_, sizeof intake->epoch_, 0) ==
                      static_cast<ssize_t>(sizeof intake->epoch_);
  if (!intake->epoll_ || !intake->stop_event_ || !random) {
    return Error{Code::kUnavailable, "cannot prepare to serve: " + base::errno_text(errno)};
  }
  for (const int fd : {intake->listener_->fd(), intake->stop_event_.get()}) {
    if (base::Status watched = intake->watch(fd, EPOLLIN); !watched) return watched.error();
  }
  return intake;
}

void Intake::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t size = ::write(stop_event_.get(), &one, sizeof one);
}

std::vector<std::shared_ptr<ClientState>> Intake::clients() const {
  const std::lock_guard lock(mutex_);
  return clients_;
}

base::Status Intake::watch(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return Error{Code::kUnavailable, "cannot watch a descriptor: " + base::errno_text(errno)};
  }
  return base::ok();
}

void Intake::unwatch(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

// Sleeps until a doorbell, a hang-up, a new client or the time-out. See shm/wait.h for the order.
void Intake::sleep(Nanos timeout) {
  for (const auto& client : clients_) client->connection->set_asleep(true);
  if (sweep()) {
    look_at_sockets(0);  // or traffic that never stops would keep clients from coming and going
  } else {
    if (!guests_.empty()) timeout = std::min(timeout, kHelloWithin / 10);
    const bool woken = look_at_sockets(static_cast<int>(timeout / base::kMillisecond));
    // Work without a doorbell: either it rings this very moment, or it was lost.
    if (!woken && sweep() && !look_at_sockets(kDoorbellWithinMs)) {
      counters_.rescued_by_timeout.add();
    }
  }
  for (const auto& client : clients_) client->connection->set_asleep(false);
}

// Handles what happened on the sockets, waiting up to `timeout_ms` for something to happen. False
// when nothing did.
bool Intake::look_at_sockets(int timeout_ms) {
  if (accept_again_at_ != 0 && base::now_ns() >= accept_again_at_) {
    // Still no room? Then again a second later.
    const bool watched = watch(listener_->fd(), EPOLLIN).has_value();
    accept_again_at_ = watched ? 0 : base::now_ns() + base::kSecond;
  }
  std::array<epoll_event, kEventsMax> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsMax, timeout_ms);
  bool guests_spoke = false;
  bool rang = false;
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == listener_->fd()) {
      accept_guests();
      continue;
    }
    const auto owner = std::find_if(clients_.begin(), clients_.end(), [fd](const auto& client) {
      const shm::Connection& connection = *client->connection;
      return connection.doorbell() == fd || connection.socket() == fd || connection.process() == fd;
    });
    if (owner == clients_.end()) {
      guests_spoke = true;  // or it is the stop event, or gone since
      continue;
    }
    const std::shared_ptr<ClientState> client = *owner;
    if (client->connection->doorbell() == fd) {
      rang = true;  // it has woken us; and perhaps it rang for a stream
      continue;
    }
    if (client->connection->process() == fd) {
      disconnect(client, "the client's process ended", std::nullopt);
      continue;
    }
    // A client has nothing to say on its socket: whatever happened there, it is over.
    char byte = 0;
    const bool spoke =
        ::recv(fd, &byte, sizeof byte, MSG_DONTWAIT | MSG_PEEK) > 0 || !shm::hung_up(fd);
    if (spoke) {
      disconnect(client, "the client wrote to its socket", shm::Violation::kSocket);
    } else {
      disconnect(client, "the client hung up", std::nullopt);
    }
  }
  if (rang) downstream_.room();
  if (guests_spoke || !guests_.empty()) greet_guests(base::now_ns());
  return count > 0;
}

void Intake::refuse_guest(const base::Fd& socket, const base::Error& why) {
  counters_.refused_connections[static_cast<std::size_t>(why.code)].add();
  // A client that died on its way in is nobody's fault.
  base::log(why.code == Code::kSidecarGone ? base::LogLevel::kInfo : base::LogLevel::kWarn,
            "connection refused", {{"reason", why.message}});
  shm::send_refusal(socket.get(), why);
}

void Intake::accept_guests() {
  while (base::Fd socket = listener_->accept()) {
    base::Result<shm::Peer> peer = shm::peer_of(socket.get());
    if (!peer) {
      refuse_guest(socket, peer.error());
      continue;
    }
    if (!allowed(config_.transport, *peer)) {
      // Before the hello: who may not connect must not take a place either.
      refuse_guest(socket, {Code::kDenied, "user " + std::to_string(peer->uid) + " (group " +
                                               std::to_string(peer->gid) +
                                               ") is not allowed: add it to transport.allow_uids "
                                               "or transport.allow_gids"});
      continue;
    }
    if (guests_.size() >= kGuestsMax) make_room_for_guest();
    if (base::Status watched = watch(socket.get(), EPOLLIN | EPOLLRDHUP); !watched) {
      refuse_guest(socket, watched.error());
    } else {
      guests_.push_back({std::move(socket), *peer, base::now_ns() + kHelloWithin});
    }
  }
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
  // Out of descriptors, most likely. A listener that is watched on would keep the thread awake.
  base::log_error("cannot accept clients for a second", {{"error", base::errno_text(errno)}});
  unwatch(listener_->fd());
  accept_again_at_ = base::now_ns() + base::kSecond;
}

// A client says hello as soon as it has connected. So those who have not, when the places are full,
// are most likely not going to: the one who has been silent longest goes.
void Intake::make_room_for_guest() {
  greet_guests(base::now_ns());
  if (guests_.size() < kGuestsMax) return;
  unwatch(guests_.front().socket.get());
  refuse_guest(guests_.front().socket,
               {Code::kBusy, "too many clients are connecting, and this one has not said hello"});
  guests_.erase(guests_.begin());
}

void Intake::greet_guests(Nanos now) {
  for (std::size_t i = 0; i < guests_.size();) {
    Guest& guest = guests_[i];
    base::Result<std::optional<shm::Hello>> hello = shm::read_hello(guest.socket.get());
    if (hello && !*hello && now < guest.leave_by) {
      ++i;
      continue;
    }
    unwatch(guest.socket.get());
    base::Status admitted = base::ok();
    if (!hello) {
      admitted = hello.error();
    } else if (!*hello) {
      admitted = Error{Code::kDeadlineExceeded, "no hello within a second"};
    } else {
      admitted = admit(guest, **hello);
    }
    if (!admitted) refuse_guest(guest.socket, admitted.error());
    guests_.erase(guests_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// Whether one more connection of this user stays within every limit. What counts is memory that is
// there: connections that have left count until their last request is done.
base::Status Intake::room_for(const shm::Peer& peer) const {
  const Config::Transport& limits = config_.transport;
  const std::size_t all = holding_memory_.size();
  if (all >= limits.connections_max) {
    return Error{Code::kBusy, "all " + std::to_string(limits.connections_max) +
                                  " connections are in use (transport.connections_max)"};
  }
  std::size_t of_user = 0;
  for (const auto& holder : holding_memory_) {
    const std::shared_ptr<ClientState> client = holder.lock();
    if (client && client->connection->peer().uid == peer.uid) ++of_user;
  }
  if (limits.connections_per_user_max > 0 && of_user >= limits.connections_per_user_max) {
    return Error{Code::kBusy, "user " + std::to_string(peer.uid) + " has " +
                                  std::to_string(of_user) +
                                  " connections, which is all that one user may have "
                                  "(transport.connections_per_user_max)"};
  }
  const shm::Geometry geometry = geometry_of(config_);
  const std::uint64_t each = geometry.request_region_size() + geometry.reply_region_size();
  if ((all + 1) * each > memory_max_) {
    return Error{Code::kBusy, "one more connection takes " + std::to_string(each) + " bytes, and " +
                                  std::to_string(all) + " are taking " +
                                  std::to_string(all * each) + " of " +
                                  std::to_string(memory_max_) + " (transport.memory_bytes_max)"};
  }
  return base::ok();
}

base::Status Intake::admit(Guest& guest, const shm::Hello& hello) {
  if (draining()) return Error{Code::kSidecarGone, "the sidecar is shutting down"};
  std::erase_if(holding_memory_, [](const auto& client) { return client.expired(); });
  if (base::Status room = room_for(guest.peer); !room) return room.error();
  // A client that cannot share memory gets a stand-in that can.
  const bool carried = (hello.features & shm::kFeatureCarry) != 0;
  int ends[2] = {-1, -1};
  if (carried &&
      ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return Error{Code::kUnavailable, "cannot relay: " + base::errno_text(errno)};
  }
  base::Fd near_end(ends[0]);
  base::Fd far_end(ends[1]);
  std::shared_ptr<CacheMember> cache;
  if (downstream_.cache != nullptr) {
    const bool reads = !carried && (hello.features & shm::kFeatureCache) != 0;
    cache = downstream_.cache->join(guest.peer, reads);
  }
  base::Result<std::shared_ptr<shm::Connection>> connection = shm::Connection::open(
      std::move(carried ? near_end : guest.socket), guest.peer, hello, geometry_of(config_),
      limits_of(config_, services_), epoch_, next_id_, cache ? cache->offer() : shm::CacheOffer{});
  if (!connection) return connection.error();
  if (carried) (*connection)->set_process(shm::process_of(guest.socket.get()));
  ++next_id_;
  auto client = std::make_shared<ClientState>();
  client->connection = *std::move(connection);
  client->connected_at = base::now_ns();
  const shm::Geometry geometry = geometry_of(config_);
  client->memory_bytes = geometry.request_region_size() + geometry.reply_region_size();
  client->cache = std::move(cache);
  client->account = counters_.accounts.open(client->connection->name(), guest.peer.uid);
  holding_memory_.push_back(client);
  // One whose death or doorbell would go unnoticed is let go: it sees the hang-up and comes back.
  base::Status watched = watch(client->connection->socket(), EPOLLIN | EPOLLRDHUP);
  if (watched) watched = watch(client->connection->doorbell(), EPOLLIN | EPOLLET);
  // The socket alone would hide a death for as long as a forked child holds it.
  if (watched && client->connection->process() >= 0) {
    watched = watch(client->connection->process(), EPOLLIN);
  }
  if (watched && carried) watched = relay_.add(std::move(guest.socket), std::move(far_end));
  if (!watched) return watched.error();
  base::log_info("client connected", {{"client", client->connection->id()},
                                      {"name", client->connection->name()},
                                      {"memory", carried ? "carried" : "shared"},
                                      {"uid", guest.peer.uid},
                                      {"pid", guest.peer.pid}});
  const std::lock_guard lock(mutex_);
  clients_.push_back(std::move(client));
  return base::ok();
}

// The connection's memory lives on until its last request is done; nobody reads those replies.
void Intake::disconnect(const std::shared_ptr<ClientState>& client, const std::string& why,
                        std::optional<shm::Violation> violation) {
  unwatch(client->connection->socket());
  unwatch(client->connection->doorbell());
  unwatch(client->connection->process());
  client->connection->close();
  // At once, although a request under way may keep the descriptor open for a while.
  ::shutdown(client->connection->socket(), SHUT_RDWR);
  if (violation) counters_.violations[static_cast<std::size_t>(*violation)].add();
  base::log(violation ? base::LogLevel::kWarn : base::LogLevel::kInfo, "client disconnected",
            {{"client", client->connection->id()},
             {"name", client->connection->name()},
             {"reason", why},
             {"requests", client->counters.requests.get()}});
  const std::lock_guard lock(mutex_);
  std::erase(clients_, client);
}

}  // namespace nacelle::sidecar
