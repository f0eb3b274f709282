// The nouns that move through the sidecar, in the order in which they come to be:
//
//   Request         what a client asked for, tokenized         intake    -> scheduler
//   Batch           texts of one service that run together     scheduler -> executor
//   Outcome         how a request ended                        executor  -> replier
//   StreamRequest   pieces that a client asked for             intake    -> streamer
//
// A stage owns what it holds and passes it on by move. Nothing moves backwards.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "shm/shm.h"
#include "sidecar/base/time.h"
#include "sidecar/counters.h"
#include "sidecar/model/model.h"

namespace nacelle::sidecar {

// A client process as the stages see it: where its requests come from and its replies go to.
struct ClientState {
  std::shared_ptr<shm::Connection> connection;
  base::Nanos connected_at = 0;
  std::uint32_t cursor = 0;  // intake's: where the next sweep begins, after one that was cut short
  ClientCounters counters;
};

// Texts that wait for computing. Text i has the tokens [offsets[i], offsets[i + 1]); one that could
// not be tokenized has none, and its report in the reply says why.
struct Request {
  std::shared_ptr<ClientState> client;
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;

  std::uint32_t service = 0;
  model::Task task = model::Task::kEmbed;
  base::Nanos arrived = 0;
  base::Nanos deadline = 0;

  std::uint32_t texts = 0;
  std::vector<std::uint32_t> ids;      // [tokens]
  std::vector<std::uint32_t> types;    // [tokens]
  std::vector<std::uint32_t> offsets;  // [texts + 1]
  std::span<std::byte> reply;          // in the client's reply region: the row list (shm/layout.h)

  // How far it has come; written by the scheduler and the executor, one after the other.
  std::uint32_t next = 0;           // the first text that no batch has held yet
  base::Nanos started = 0;          // of its first batch; 0 before
  base::Nanos compute = 0;          // time in batches
  std::uint32_t batch_texts = 0;    // of the largest batch that held one of its texts
  std::uint32_t batch_clients = 0;  // in that batch

  [[nodiscard]] std::uint32_t tokens(std::uint32_t text) const {
    return offsets[text + 1] - offsets[text];
  }
  // Where row `text` of the result goes.
  [[nodiscard]] float* row(std::uint32_t text, std::uint32_t width) const {
    return reinterpret_cast<float*>(reply.data() + shm::rows_offset(texts)) +
           std::size_t{text} * width;
  }
};

// Some of a request's texts, in a batch.
struct Slice {
  Request* request = nullptr;  // in the queue still, or in Batch::finishing
  std::uint32_t first = 0;
  std::uint32_t count = 0;  // of texts; those without tokens are skipped
};

// Texts of one service and task, packed end to end.
struct Batch {
  std::uint32_t service = 0;
  model::Task task = model::Task::kEmbed;
  std::vector<Slice> slices;
  std::uint32_t tokens = 0;
  std::uint32_t texts = 0;    // with tokens
  std::uint32_t clients = 0;  // different ones
  // Requests whose last texts are in this batch: answered when it is done.
  std::vector<std::unique_ptr<Request>> finishing;
};

// Pieces that a client asked for, and how far they have come.
struct StreamRequest {
  std::shared_ptr<ClientState> client;
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  base::Nanos deadline = 0;
  shm::PingStream wanted{};   // the only source of pieces so far: it needs no model
  std::uint32_t written = 0;  // pieces
  base::Nanos next_at = 0;    // when the next piece is due
  base::Nanos moved_at = 0;   // when a piece was last written
  bool parked = false;        // the ring is full: waits until its reader has read on
};

// A request and how it ended.
struct Outcome {
  std::unique_ptr<Request> request;
  base::Status status = base::ok();
};

}  // namespace nacelle::sidecar
