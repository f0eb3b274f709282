// The first stage: meets clients, takes their requests out of shared memory, checks and tokenizes
// them, and hands them on. What needs no model (ping, describe, everything wrong) ends here.
//
// One thread sweeps the connections' slots; it spins for as long as a wake would cost and then
// sleeps on an epoll set that holds the listening socket, every client's socket (its hang-up) and
// every client's doorbell.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shm/shm.h"
#include "sidecar/asked.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/config.h"
#include "sidecar/flow.h"
#include "sidecar/relay.h"
#include "sidecar/replier.h"
#include "sidecar/services.h"

namespace nacelle::sidecar {

class ResultCache;

// Where requests go. Gives the request back and says why when it cannot be taken.
struct Refused {
  std::unique_ptr<Request> request;  // null: taken
  base::Error why;
  std::uint32_t retry_after_us = 0;
};

// How long a request may take: what it says, else `default_ms`.
inline base::Nanos time_for(const shm::Submission& submission, std::uint32_t default_ms) {
  return submission.deadline_us > 0 ? submission.deadline_us * base::kMicrosecond
                                    : default_ms * base::kMillisecond;
}

// Why a client's requests are refused now, whatever they ask.
struct Full {
  base::Error why;
  std::uint32_t retry_after_us = 0;
};

// What intake hands on to, wired by the pipeline.
struct Downstream {
  // Asked before a request is read, so that a flood of those that cannot be taken costs little.
  std::function<std::optional<Full>(const ClientState&, const LoadedService&)> full;
  std::function<Refused(std::unique_ptr<Request>)> submit;
  std::function<void(StreamRequest)> stream;
  // True while the device computes, where that takes every CPU: then intake does not spin. Null:
  // there are CPUs enough.
  const std::atomic<bool>* computing = nullptr;
  // A doorbell rang: a client has read on in a stream, perhaps in one that waits for room.
  std::function<void()> room;
  // The caches that clients are given; null: none.
  ResultCache* cache = nullptr;
};

class Intake {
 public:
  // Starts to listen on config.socket: from now on clients can connect, and wait for run().
  static base::Result<std::unique_ptr<Intake>> open(const Config& config, Services& services,
                                                    Replier& replier, Counters& counters,
                                                    Downstream downstream);

  // Serves until stop(). For one thread.
  void run();
  // Any thread: makes run() return soon.
  void stop();
  // Any thread: from now on new texts and connections are refused with kSidecarGone. Returns when a
  // request that was being taken at that moment has been handed on.
  void drain();
  [[nodiscard]] bool draining() const { return draining_.load(std::memory_order_seq_cst); }
  // Requests about texts that were told so, and taken no further.
  [[nodiscard]] std::uint64_t refused_in_drain() const { return refused_in_drain_.get(); }

  // Any thread: who is connected.
  [[nodiscard]] std::vector<std::shared_ptr<ClientState>> clients() const;

 private:
  // A client that has connected but not said hello yet.
  struct Guest {
    base::Fd socket;
    shm::Peer peer;
    base::Nanos leave_by = 0;
  };

  Intake(const Config& config, Services& services, Replier& replier, Counters& counters,
         Downstream downstream, shm::Listener listener);

  // intake.cc: requests, and those that need no model
  bool sweep();
  bool sweep_client(const std::shared_ptr<ClientState>& client);
  void handle(const std::shared_ptr<ClientState>& client, const shm::Submission& submission);
  void handle_ping(ClientState& client, const shm::Submission& submission);
  void handle_describe(ClientState& client, const shm::Submission& submission);
  void handle_stream(const std::shared_ptr<ClientState>& client, const shm::Submission& submission);

  // texts.cc: those about texts
  void handle_texts(const std::shared_ptr<ClientState>& client, const shm::Submission& submission);
  base::Result<std::unique_ptr<Request>> make_request(const std::shared_ptr<ClientState>& client,
                                                      const shm::Submission& submission,
                                                      const LoadedService& service);
  base::Result<std::unique_ptr<Request>> try_request(const std::shared_ptr<ClientState>& client,
                                                     const shm::Submission& submission,
                                                     const LoadedService& service);
  base::Status tokenize(shm::Op op, const LoadedService& service, const Asked& asked,
                        std::span<const std::byte> list, std::uint32_t items, Request& request);

  // reception.cc: clients that come and go
  [[nodiscard]] base::Status watch(int fd, std::uint32_t events);
  void unwatch(int fd);
  void sleep(base::Nanos timeout);
  bool look_at_sockets(int timeout_ms);
  void accept_guests();
  void refuse_guest(const base::Fd& socket, const base::Error& why);
  void make_room_for_guest();
  void greet_guests(base::Nanos now);
  [[nodiscard]] base::Status room_for(const shm::Peer& peer) const;
  base::Status admit(Guest& guest, const shm::Hello& hello);
  void disconnect(const std::shared_ptr<ClientState>& client, const std::string& why,
                  std::optional<shm::Violation> violation);

  const Config config_;
  Services& services_;
  Replier& replier_;
  Counters& counters_;
  Downstream downstream_;
  std::optional<shm::Listener> listener_;  // until run() ends
  base::Fd epoll_;
  base::Fd stop_event_;
  base::Nanos spin_ = 0;
  std::uint64_t memory_max_ = 0;  // bytes of all connections' regions
  std::uint64_t epoch_ = 0;
  std::uint64_t next_id_ = 1;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> draining_{false};
  metrics::Counter refused_in_drain_;
  // run()'s thread is between looking at draining_ and handing a request on.
  std::atomic<bool> taking_{false};
  bool took_texts_ = false;  // since run() last looked at the clock
  // When run() looked at the clock before its last whole sweep, and before this one: what a sweep
  // finds was published after the earlier of the two.
  base::Nanos looked_before_ = 0;
  base::Nanos looked_ = 0;
  base::Nanos taken_ = 0;            // the request about texts at hand
  base::Nanos accept_again_at_ = 0;  // not 0: out of descriptors, the listener is not watched
  std::vector<Guest> guests_;
  Relay relay_;
  std::vector<std::byte> payload_;  // of the request at hand

  mutable std::mutex mutex_;  // guards clients_ against readers; only run()'s thread changes it
  std::vector<std::shared_ptr<ClientState>> clients_;
  // Every client whose memory is still there: the connected, and those that left while requests of
  // theirs are under way. What connections_max bounds.
  std::vector<std::weak_ptr<ClientState>> holding_memory_;
};

}  // namespace nacelle::sidecar
