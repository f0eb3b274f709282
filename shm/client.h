// What a C++ application links: one object that any number of threads may call.
//
//   auto client = nacelle::shm::Client::connect();
//   auto vectors = (*client)->embed("minilm", texts);     // vectors->values: [texts, width]
//
// A call claims a slot, writes its texts into the request region, publishes, and waits for the
// answer in the reply region: no copy of the model here, no socket, no system call while both sides
// are busy. Where the sidecar keeps a cache, rows that it has are read there first, and only the
// others are asked for: a call that finds all of them asks nobody, even while the sidecar is down.
// When the sidecar dies, a waiting call learns it within 50 ms, connects again and asks
// once more (every op here is idempotent); when nobody comes back it returns kSidecarGone.
//
// nacelle.h is the same for C and for everything that can call C.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shm/layout.h"
#include "sidecar/base/result.h"

namespace nacelle {

struct ClientOptions {
  std::string socket = {};  // "": $NACELLE_SOCKET, else /run/nacelle/nacelle.sock
  std::string name = {};    // shown by nacellectl; "": the program's name
  // "shm"; "socket" for places where memory cannot be shared: the same answers as messages, slower.
  std::string transport = {};  // "": $NACELLE_TRANSPORT, else shm
  // How long connect() waits for a sidecar that is still starting, and a call for one to come back.
  std::chrono::milliseconds connect_timeout{5000};
};

struct CallOptions {
  std::chrono::milliseconds timeout{0};  // 0: the sidecar's default deadline
  std::uint64_t trace = 0;               // a number of your own

  // What changes the answer, besides the service and the texts. shm/layout.h says what the values
  // mean. Anything but the defaults needs a sidecar of protocol version 1.2 (kVersionMismatch).
  // Of embed:
  shm::Element dtype = shm::Element::kFloat32;
  std::uint32_t dimensions = 0;  // the first so many numbers of each row (Matryoshka); 0: all
  shm::Normalize normalize = shm::Normalize::kModel;
  // Put before each text; "" is none. Not set: the prompt called prompt_name, or when that is
  // empty, the one that the service is set to.
  std::optional<std::string_view> prompt = std::nullopt;
  std::string_view prompt_name = {};
  // Of classify and rerank:
  shm::Function function = shm::Function::kModel;
  // Labels or documents in what classify() and rerank() return, best first; 0: all. run() and
  // start() take no notice of it.
  std::uint32_t top = 0;
  // Of all three; rerank cuts no documents (kChunkMean).
  shm::LongInput long_input = shm::LongInput::kService;

  // Where the answer comes from, which changes nothing about it. Needs no sidecar of any version.
  shm::CacheMode cache = shm::CacheMode::kService;
};

// What a service answers with.
struct ServiceInfo {
  std::uint32_t embed_width = 0;    // floats per embedding; 0: does not embed
  std::vector<std::string> labels;  // empty: does not classify
  std::uint32_t tokens_max = 0;     // per text; for longer ones see long_input
  bool multi_label = false;         // scores are independent and do not sum to 1
  bool reranks = false;
  shm::LongInput long_input = shm::LongInput::kTruncate;  // when a call does not say
  std::uint32_t windows_max = 1;                          // that kChunkMean cuts one text into
  std::vector<std::string> prompts;                       // their names
  std::string digest;                                     // SHA-256 of the model, lower-case hex
  std::string architecture;
};

// How a call went.
struct CallReport {
  std::uint32_t items_failed = 0;    // texts whose ItemReport::code is not kOk
  std::uint32_t items_cached = 0;    // texts whose rows this client read in the cache
  std::uint32_t queue_us = 0;        // waiting for a batch
  std::uint32_t compute_us = 0;      // in batches
  std::uint32_t batch_texts = 0;     // texts in the largest batch that held one of ours
  std::uint32_t batch_clients = 0;   // clients in that batch
  std::uint32_t retry_after_us = 0;  // with kBusy
};

struct Rows {
  std::vector<float> values;       // [texts, width], when dtype is kFloat32
  std::vector<std::byte> encoded;  // [texts, shm::row_size(dtype, width)], when it is another
  shm::Element dtype = shm::Element::kFloat32;
  std::uint32_t width = 0;             // numbers per row
  std::vector<shm::ItemReport> items;  // [texts]
  CallReport report;
  [[nodiscard]] std::span<const float> row(std::size_t i) const {
    return std::span(values).subspan(i * width, width);
  }
};

struct Classification {
  std::string label;  // the one with the highest score
  float score = 0;
  std::vector<float> scores;        // in the order of ServiceInfo::labels
  std::vector<std::uint32_t> best;  // labels by index, best first, options.top of them
};

struct Ranking {
  std::vector<std::uint32_t> best;  // documents by index, best first, options.top of them
  std::vector<float> scores;        // [documents]; NaN for one that failed, which is in no `best`
  std::vector<shm::ItemReport> items;  // [documents]
  CallReport report;
};

// The indices of the `top` highest scores (0: of all), the highest first, equal ones in their
// order. NaNs are left out.
std::vector<std::uint32_t> best_of(std::span<const float> scores, std::uint32_t top = 0);

class Pending;  // shm/pending.h
class Stream;   // shm/stream.h

class Client {
 public:
  // kUnavailable when no sidecar listens in time, kDenied or kVersionMismatch when it refuses.
  static base::Result<std::unique_ptr<Client>> connect(const ClientOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // kNotFound names the services there are. Answered from memory after the first time.
  base::Result<std::shared_ptr<const ServiceInfo>> describe(std::string_view service);

  // The service as the answers have it that this client reads in the cache, also while there is no
  // sidecar to describe it; null when it has not been described yet, or has no cache. Asks nobody
  // and waits for nobody.
  std::shared_ptr<const ServiceInfo> recall(std::string_view service);

  // Embeddings of texts (at least one, UTF-8), L2-normalized if the model says so. A text that is
  // not UTF-8 gets a row of zeros and says why in its item.
  base::Result<Rows> embed(std::string_view service, std::span<const std::string_view> texts,
                           const CallOptions& options = {});
  // Labels with scores. A text that is not UTF-8 fails the call.
  base::Result<std::vector<Classification>> classify(std::string_view service,
                                                     std::span<const std::string_view> texts,
                                                     const CallOptions& options = {},
                                                     CallReport* report = nullptr);

  // How well each document answers the query. For services whose model has one label
  // (cross-encoders); by default a score is a probability, with Function::kNone the model's logit.
  // A document that fails does so alone; a query that is not UTF-8 fails the call.
  base::Result<Ranking> rerank(std::string_view service, std::string_view query,
                               std::span<const std::string_view> documents,
                               const CallOptions& options = {});

  // The same into the caller's memory. op is kEmbed, kClassify or kRerank, where texts[0] is the
  // query and the others have a row each; out is rows x shm::row_size(options.dtype, width) bytes,
  // aligned for its numbers; items is empty or has one entry per row: then a bad text fails alone,
  // and its row is zeros (rerank: NaN). Lists of any length: what does not fit in one request goes
  // in several. on_error, when given, gets the report of a call that failed (retry_after_us).
  base::Result<CallReport> run(shm::Op op, std::string_view service,
                               std::span<const std::string_view> texts, std::span<std::byte> out,
                               std::span<shm::ItemReport> items, const CallOptions& options = {},
                               CallReport* on_error = nullptr);
  base::Result<CallReport> run(shm::Op op, std::string_view service,
                               std::span<const std::string_view> texts, std::span<float> out,
                               std::span<shm::ItemReport> items, const CallOptions& options = {},
                               CallReport* on_error = nullptr) {
    return run(op, service, texts, std::as_writable_bytes(out), items, options, on_error);
  }

  // The same without waiting, for event loops: see Pending. Nothing is asked of a sidecar that this
  // client does not know yet: kSidecarGone when there is no live connection, kNotFound when the
  // service has not been described on it; a waiting call (describe) mends both. `out`, `items` and
  // the texts' bytes must live as long as the call.
  base::Result<std::unique_ptr<Pending>> start(shm::Op op, std::string_view service,
                                               std::vector<std::string_view> texts,
                                               std::span<std::byte> out,
                                               std::span<shm::ItemReport> items,
                                               const CallOptions& options = {});
  base::Result<std::unique_ptr<Pending>> start(shm::Op op, std::string_view service,
                                               std::vector<std::string_view> texts,
                                               std::span<float> out,
                                               std::span<shm::ItemReport> items,
                                               const CallOptions& options = {});

  // `pieces` pieces of `piece_bytes` bytes, one every `interval` (0: as fast as they are read): a
  // stream without work. Byte j of piece i is the low byte of i + j.
  base::Result<std::unique_ptr<Stream>> ping_stream(std::uint32_t pieces, std::uint32_t piece_bytes,
                                                    std::chrono::microseconds interval = {},
                                                    const CallOptions& options = {});

  // A round trip without work: sends `request` and receives its bytes into `reply`, repeated from
  // the beginning until that is full. A reply has at least one byte, unless nothing is sent either.
  base::Status ping(std::span<const std::byte> request, std::span<std::byte> reply);
  // The same, back into the same memory.
  base::Status ping(std::span<std::byte> data) { return ping(data, data); }

  // How often a reply was there only when a sleep timed out. Anything but 0 is a lost wake-up.
  [[nodiscard]] std::uint64_t rescued_by_timeout() const;

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state);
  State& state() const;
  base::Result<std::shared_ptr<const ServiceInfo>> fill(shm::Op op, std::string_view service,
                                                        std::span<const std::string_view> texts,
                                                        Rows& rows, bool per_item,
                                                        const CallOptions& options);
  mutable std::atomic<State*> state_;  // owned; replaced once in a forked child
};

}  // namespace nacelle
