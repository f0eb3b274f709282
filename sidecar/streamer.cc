#include "sidecar/streamer.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

// Bytes of pieces that one stream may write before the others have their turn.
constexpr std::uint64_t kTurnBytes = 32U << 10;

// A parked stream is looked at this often without a bell, for its deadline, its reader's death and
// its cancellation.
constexpr Nanos kLookEvery = 20 * base::kMillisecond;

// A full ring is looked at for so long before its stream is parked: a reader that keeps up makes
// room within microseconds, while a doorbell takes two wake-ups.
constexpr Nanos kLookFor = 20 * base::kMicrosecond;

Error shutting_down() { return {Code::kSidecarGone, "the sidecar is shutting down"}; }

}  // namespace

Streamer::Streamer(Replier& replier)
    : replier_(replier),
      look_for_(std::min(kLookFor, shm::calibrated_spin_ns())),
      thread_([this] { run(); }) {}

Streamer::~Streamer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  thread_.join();
}

void Streamer::add(StreamRequest stream) {
  {
    std::unique_lock lock(mutex_);
    if (draining_ || stopping_) {
      lock.unlock();
      replier_.end_stream(*stream.client, stream.slot, stream.generation, shutting_down(), 0);
      return;
    }
    added_.push_back(std::move(stream));
    running_ += 1;
  }
  work_.notify_one();
}

void Streamer::room() {
  {
    const std::lock_guard lock(mutex_);
    if (running_ == 0) return;  // the bell rang for a request
    room_ = true;
  }
  work_.notify_one();
}

std::size_t Streamer::drain(Nanos deadline) {
  std::size_t left = 0;
  {
    std::unique_lock lock(mutex_);
    draining_ = true;
    idle_.wait_for(lock, std::chrono::nanoseconds(std::max<Nanos>(deadline - base::now_ns(), 0)),
                   [this] { return running_ == 0; });
    left = running_;
    stopping_ = true;
  }
  work_.notify_one();
  return left;
}

void Streamer::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      // When the first stream that is not parked is due; a parked one is looked at now and then.
      Nanos wake_at = base::kNever;
      for (const StreamRequest& stream : streams_) {
        wake_at = std::min(wake_at, stream.parked ? base::now_ns() + kLookEvery
                                                  : std::min(stream.next_at, stream.deadline));
      }
      const auto called = [this] { return stopping_ || room_ || !added_.empty(); };
      if (wake_at == base::kNever) {
        work_.wait(lock, called);
      } else if (const Nanos pause = wake_at - base::now_ns(); pause > 0) {
        work_.wait_for(lock, std::chrono::nanoseconds(pause), called);
      }
      room_ = false;
      for (StreamRequest& stream : added_) streams_.push_back(std::move(stream));
      added_.clear();
      if (stopping_) break;
    }
    const Nanos now = base::now_ns();
    for (StreamRequest& stream : streams_) turn(stream, now);
    const std::size_t ended = std::erase_if(
        streams_, [](const StreamRequest& stream) { return stream.client == nullptr; });
    if (ended > 0) {
      const std::lock_guard lock(mutex_);
      running_ -= ended;
      if (running_ == 0) idle_.notify_all();
    }
  }
  for (StreamRequest& stream : streams_) end(stream, shutting_down());
  streams_.clear();
  const std::lock_guard lock(mutex_);
  running_ = 0;
}

// Why a stream must end before its time, or ok.
base::Status Streamer::state_of(const StreamRequest& stream, Nanos now) const {
  const shm::Connection& connection = *stream.client->connection;
  if (connection.closed() || connection.cancelled(stream.slot, stream.generation)) {
    return Error{Code::kCancelled, "the client gave the stream up"};
  }
  if (now >= stream.deadline) {
    return Error{Code::kDeadlineExceeded, "the deadline passed while the stream ran"};
  }
  return base::ok();
}

// Writes what is due and what there is room for, up to a turn's share.
void Streamer::turn(StreamRequest& stream, Nanos now) {
  if (base::Status state = state_of(stream, now); !state) return end(stream, state);
  if (now < stream.next_at) return;
  write(stream, now);
  if (stream.written == stream.wanted.pieces) end(stream, base::ok());
}

void Streamer::write(StreamRequest& stream, Nanos now) {
  shm::Connection& connection = *stream.client->connection;
  const std::uint64_t size = shm::piece_size(stream.wanted.piece_bytes);
  const std::uint32_t before = stream.written;
  // Every piece is a window of the same bytes: 0, 1 ... 255, 0, 1 ...
  while (pattern_.size() < stream.wanted.piece_bytes + std::size_t{256}) {
    pattern_.push_back(static_cast<std::byte>(pattern_.size()));
  }
  stream.parked = false;
  bool full = false;
  for (std::uint64_t bytes = 0; bytes < kTurnBytes && stream.written < stream.wanted.pieces;
       bytes += size) {
    const auto piece = std::span(pattern_).subspan(stream.written % 256, stream.wanted.piece_bytes);
    if (!connection.write_piece(stream.slot, piece)) {
      full = true;
      break;
    }
    stream.written += 1;
    if (stream.wanted.interval_us > 0) {
      stream.next_at = now + stream.wanted.interval_us * base::kMicrosecond;
      break;
    }
  }
  if (stream.written != before) {
    stream.moved_at = now;
    if (const shm::Waiter waiter = connection.publish_pieces(stream.slot)) connection.wake(waiter);
  }
  if (!full) return;
  if (now - stream.moved_at < look_for_) {
    shm::spin_pause();
    return;
  }
  // Only now, when all that was written can be seen: a reader that has nothing to read makes no
  // room.
  stream.parked = connection.park_stream(stream.slot, size);
}

// Ends the stream and marks it as ended.
void Streamer::end(StreamRequest& stream, const base::Status& status) {
  replier_.end_stream(*stream.client, stream.slot, stream.generation, status, stream.written);
  stream.client = nullptr;
}

}  // namespace nacelle::sidecar
