// The stage that answers with streams: writes pieces into their readers' rings as fast as each
// reader makes room, and ends each stream once.
//
//   intake ──▶ streamer ──▶ rings, and the end through the replier
//
// One thread serves all streams in turn. A stream whose ring is full is parked: it costs nothing
// until its reader has read on, so a slow reader slows only itself. The pieces of today need no
// model (Op::kPingStream); a language model's tokens will come the same way.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "sidecar/base/time.h"
#include "sidecar/flow.h"
#include "sidecar/replier.h"

namespace nacelle::sidecar {

class Streamer {
 public:
  explicit Streamer(Replier& replier);
  ~Streamer();
  Streamer(const Streamer&) = delete;
  Streamer& operator=(const Streamer&) = delete;

  // Any thread. Takes a stream whose ring has been opened. Never more than all slots of all
  // clients.
  void add(StreamRequest stream);
  // Any thread: some reader has read on.
  void room();
  // From now on streams are refused; returns when those that run have ended, at `deadline` at the
  // latest: then the rest ends with kSidecarGone. Returns how many those were.
  std::size_t drain(base::Nanos deadline);

 private:
  void run();
  void turn(StreamRequest& stream, base::Nanos now);
  [[nodiscard]] base::Status state_of(const StreamRequest& stream, base::Nanos now) const;
  void write(StreamRequest& stream, base::Nanos now);
  void end(StreamRequest& stream, const base::Status& status);

  Replier& replier_;
  const base::Nanos look_for_;          // how long a full ring is looked at
  std::vector<StreamRequest> streams_;  // the thread's own
  std::vector<std::byte> pattern_;      // the same

  std::mutex mutex_;  // guards everything below
  std::condition_variable work_;
  std::condition_variable idle_;
  std::vector<StreamRequest> added_;
  bool room_ = false;
  bool draining_ = false;
  bool stopping_ = false;
  std::size_t running_ = 0;  // streams that have not ended, the added ones included
  std::thread thread_;
};

}  // namespace nacelle::sidecar
