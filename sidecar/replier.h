// The last stage: publishes replies and wakes the clients that sleep on them.
//
// A wake costs its caller 11 to 17 µs, so a batch's replies are all published before anyone is
// woken, and beyond the first few the wakes go to a thread of their own. Without memory to hand
// them over, the thread that replies wakes them all itself: late is better than never.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "sidecar/flow.h"
#include "sidecar/services.h"

namespace nacelle::sidecar {

class Replier {
 public:
  Replier(Services& services, Counters& counters);
  ~Replier();
  Replier(const Replier&) = delete;
  Replier& operator=(const Replier&) = delete;

  // Any thread. Answers requests; every request that intake took ends in exactly one of these.
  void reply(std::vector<Outcome>&& outcomes);
  // A request that never became one: refused at intake.
  void refuse(ClientState& client, const shm::Submission& submission, const base::Error& error,
              std::uint32_t retry_after_us = 0);
  // A reply whose payload intake has written itself (ping, describe).
  void answer(ClientState& client, const shm::Submission& submission, std::uint64_t payload_size);
  // The end of a stream, with an error or with the number of its pieces.
  void end_stream(ClientState& client, std::uint32_t slot, std::uint64_t generation,
                  const base::Status& status, std::uint32_t pieces);

 private:
  struct Sleeper {
    std::shared_ptr<ClientState> client;
    shm::Waiter waiter;
    void wake() const { client->connection->wake(waiter); }
  };

  // Wakes done by the thread that replies; the rest is handed over.
  static constexpr std::size_t kDirectWakes = 2;

  shm::Waiter publish(const Outcome& outcome);
  void count(const base::Error& error);
  void wake(std::vector<Sleeper> sleepers);
  void wake_loop();

  Services& services_;
  Counters& counters_;

  std::mutex mutex_;
  std::condition_variable work_;
  // Bounded: a slot sleeps on one reply at a time, so never more than all slots of all clients.
  std::vector<Sleeper> to_wake_;
  bool stopping_ = false;
  std::thread waker_;
};

}  // namespace nacelle::sidecar
