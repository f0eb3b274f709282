// The nouns that move through the sidecar, in the order in which they come to be:
//
//   Request         what a client asked for, tokenized         intake    -> scheduler
//   Batch           texts of one service that run together     scheduler -> executor
//   Outcome         how a request ended                        executor  -> cache, replier
//   StreamRequest   pieces that a client asked for             intake    -> streamer
//
// A stage owns what it holds and passes it on by move. Nothing moves backwards.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shm/cache_key.h"
#include "shm/shm.h"
#include "sidecar/base/time.h"
#include "sidecar/counters.h"
#include "sidecar/model/model.h"
#include "sidecar/stages.h"

namespace nacelle::sidecar {

struct Flight;      // the scheduler's: see schedule/flight.h
class CacheMember;  // see result_cache.h

// A client process as the stages see it: where its requests come from and its replies go to.
struct ClientState {
  std::shared_ptr<shm::Connection> connection;
  base::Nanos connected_at = 0;
  std::uint64_t memory_bytes = 0;  // of the regions
  std::uint32_t cursor = 0;  // intake's: where the next sweep begins, after one that was cut short
  ClientCounters counters;
  std::shared_ptr<Account> account;    // never null once intake has admitted it
  std::shared_ptr<CacheMember> cache;  // null: it has none
};

// How the numbers that a model computes for a text become the text's row.
struct RowPlan {
  shm::Element element = shm::Element::kFloat32;
  std::uint32_t width = 0;                        // numbers that are kept, of the first
  std::uint32_t size = 0;                         // bytes of a row: shm::row_size(element, width)
  bool with_format = false;                       // the row list begins with a RowFormat
  bool normalize = false;                         // what is kept has length 1
  bool scaled = false;                            // the model's numbers, all of them, already have
  shm::Function function = shm::Function::kNone;  // of logits; never kModel
  // The model writes its numbers where they stay; only `function` is left to do.
  bool direct = true;
};

// A row that goes to the cache when it is computed.
struct ToCache {
  std::uint32_t text = 0;
  shm::CacheKey key;
};

// Texts that wait for computing, each as one window of tokens, or several when it is longer than
// the model takes. Window i has the tokens [offsets[i], offsets[i + 1]); a text that could not be
// tokenized has one without any, and its report in the reply says why; so has one whose row came
// from the cache, and is in the reply already.
struct Request {
  std::shared_ptr<ClientState> client;
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;

  std::uint32_t service = 0;
  model::Task task = model::Task::kEmbed;
  bool raw = false;  // of the model: see Packed::raw
  base::Nanos arrived = 0;
  base::Nanos deadline = 0;

  std::uint32_t texts = 0;             // rows of the reply
  std::vector<std::uint32_t> ids;      // [tokens]
  std::vector<std::uint32_t> types;    // [tokens]
  std::vector<std::uint32_t> offsets;  // [windows + 1]
  // [texts + 1] the first window of each text; empty when every text has just one.
  std::vector<std::uint32_t> first_windows;
  std::uint32_t specials = 0;  // tokens of each window that are not the text's
  RowPlan plan;
  std::span<std::byte> reply;  // in the client's reply region: the row list (shm/layout.h)
  std::vector<ToCache> to_cache;

  StageTimes times;  // written by the stage that has it

  // How far it has come; written by the scheduler and the executor, one after the other.
  std::uint32_t next = 0;             // the first window that no batch has held yet
  base::Nanos started = 0;            // of its first batch; 0 before
  base::Nanos compute = 0;            // time in batches
  base::Nanos share = 0;              // of that, by tokens
  std::uint32_t batch_texts = 0;      // of the largest batch that held one of its texts
  std::uint32_t batch_clients = 0;    // in that batch
  std::optional<base::Error> failed;  // why it alone of its batch cannot be answered
  // Over the windows so far of the text whose windows are being computed: their rows, each times
  // its tokens, and the tokens.
  std::vector<double> sum;  // [the model's width], or empty
  double sum_weight = 0;
  Flight* flight = nullptr;  // the scheduler's: the computation that answers it,
  std::uint64_t order = 0;   // and its number, in the order of arrival

  [[nodiscard]] std::uint32_t windows() const {
    return static_cast<std::uint32_t>(offsets.size() - 1);
  }
  [[nodiscard]] std::uint32_t tokens(std::uint32_t window) const {
    return offsets[window + 1] - offsets[window];
  }
  // Where row `text` of the result goes.
  [[nodiscard]] std::byte* row(std::uint32_t text) const {
    return reply.data() + shm::rows_offset(texts, plan.with_format) + std::size_t{text} * plan.size;
  }
};

// Some of a request's windows, in a batch.
struct Slice {
  Request* request = nullptr;  // the scheduler's, until finished() has heard of the batch
  std::uint32_t first = 0;
  std::uint32_t count = 0;  // of windows; those without tokens are skipped
};

// Windows of texts of one service and task, packed end to end.
struct Batch {
  std::uint32_t service = 0;
  model::Task task = model::Task::kEmbed;
  bool raw = false;
  std::vector<Slice> slices;
  std::uint32_t tokens = 0;
  std::uint32_t texts = 0;    // windows with tokens: of most texts there is one
  std::uint32_t clients = 0;  // different ones
  BatchTimes times;           // the executor's
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
  // Not null: the request with the same answer that was computed, answered beside this one.
  const Request* rows_of = nullptr;
};

}  // namespace nacelle::sidecar
