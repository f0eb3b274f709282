// The control API: what an operator's tool can ask a running sidecar, and the shape of the answers.
// Shared by nacelled, which answers, and nacellectl, which asks. docs/formats/control.md has the
// wire format with a worked example.
//
//   api.h       verbs, reports, the client           (this file; all that ctl includes)
//   reports.cc  the reports as JSON, each field named once
//   wire.h      one line of JSON in, one out: limits, framing
//   statistics.h    the page in shared memory that nacellectl top reads
//   http.h      /metrics, /healthz, /readyz
//   verbs.h     THE LIST of verbs and what answers them
//   server.h    the socket and its permissions
//   poll_thread.h   the thread behind each of the two
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"
#include "sidecar/config.h"
#include "sidecar/control/statistics.h"

namespace nacelle::control {

using Json = nlohmann::json;

// The verbs. Each answers a JSON object.
inline constexpr std::string_view kStatus = "status";  // -> StatusReport
inline constexpr std::string_view kModels = "models";  // -> {"models": [ModelReport]}
inline constexpr std::string_view kConfig = "config";  // {"option": name}? -> {"options": [Option]}

inline constexpr std::string_view kMetrics = "metrics";  // -> {"text": Prometheus' text format}
inline constexpr std::string_view kTrace = "trace";      // {"last": count}? -> TraceReport
inline constexpr std::string_view kWatch = "watch";      // -> {"version", "size"}, and a descriptor
inline constexpr std::uint64_t kTraceDefault = 1000;     // requests, when it is not said

// Where nacellectl looks when it is told nothing: the default of the option control.socket.
inline std::string default_socket() { return sidecar::Config{}.control.socket; }

// One service and the model behind it. Counters count since the start of the sidecar.
struct ModelReport {
  std::string name;                  // of the service
  std::string directory;             // the model's files
  std::string architecture;          // "BertForSequenceClassification"
  std::vector<std::string> tasks;    // "embed", "classify", "rerank"
  std::string digest;                // SHA-256 of the files that decide the answers, hex
  std::uint32_t tokens_max = 0;      // per text
  std::uint32_t embed_width = 0;     // floats per embedding; 0 when it cannot embed
  std::vector<std::string> labels;   // by index; empty when it cannot classify
  std::string long_input;            // texts over tokens_max: "truncate", "reject", "chunk_mean"
  std::uint32_t windows_max = 0;     // that chunk_mean cuts one text into
  std::vector<std::string> prompts;  // their names
  std::uint64_t parameters = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t requests = 0;
  std::uint64_t texts = 0;
  std::uint64_t tokens = 0;
  std::uint64_t batches = 0;
  std::uint64_t errors = 0;  // requests answered with an error
};

// One connected application process.
struct ClientReport {
  std::uint64_t id = 0;  // counts up; never reused while the sidecar lives
  std::string name;      // as the client calls itself: not to be trusted
  std::uint32_t uid = 0;
  std::uint32_t pid = 0;  // 0 when the client lives in another PID namespace
  std::uint64_t connected_s = 0;
  std::uint64_t requests = 0;
  std::uint64_t texts = 0;
  std::uint64_t in_flight = 0;  // requests taken and not yet answered
};

// Counters over all services and clients, those that left included.
struct Totals {
  std::uint64_t requests = 0;
  std::uint64_t texts = 0;
  std::uint64_t tokens = 0;
  std::uint64_t batches = 0;
  std::uint64_t batches_mixed = 0;    // batches that held texts of more than one client
  std::uint64_t batch_texts_max = 0;  // the most texts that one batch held
  std::uint64_t busy = 0;             // requests refused for lack of room
  std::uint64_t invalid = 0;
  std::uint64_t expired = 0;             // deadlines that passed before the work was done
  std::uint64_t cancelled = 0;           // taken back, or their client left
  std::uint64_t rescued_by_timeout = 0;  // wake-ups that a backstop had to repair: should be 0
};

// How often something happened that has a name.
struct NamedCount {
  std::string name;
  std::uint64_t count = 0;
};

struct StatusReport {
  std::string version;
  std::uint32_t pid = 0;
  std::uint64_t uptime_s = 0;
  std::string state;    // "starting", "serving" or "draining"
  std::string backend;  // "cpu (avx512, 2 threads)"
  std::uint32_t threads = 0;
  std::string socket;           // the data socket
  std::uint64_t rss_bytes = 0;  // resident memory of the sidecar process
  // In the scheduler's queue, both at the same moment.
  std::uint64_t queued_requests = 0;  // with texts that no batch has held yet
  std::uint64_t queued_tokens = 0;    // of those texts
  Totals totals;
  // Clients disconnected for breaking the protocol, by what they did; only what happened.
  std::vector<NamedCount> violations;
  // Connections refused, by the name of the code that the client was told; only what happened.
  std::vector<NamedCount> refused_connections;
  std::vector<ModelReport> models;
  std::vector<ClientReport> clients;
};

// A request on its way. Times are nanoseconds of the sidecar's monotonic clock.
struct TracedRequest {
  std::uint64_t number = 0;   // counts up, over all clients, in the order of the replies
  std::uint64_t client = 0;   // ClientReport::id
  std::uint32_t service = 0;  // index into TraceReport::services
  std::uint32_t slot = 0;
  std::uint32_t texts = 0;
  std::uint32_t tokens = 0;
  std::string outcome;        // "ok", or the code that the client was told
  std::uint64_t ring_ns = 0;  // at most, before taken_ns
  std::uint64_t taken_ns = 0;
  std::uint64_t tokenized_ns = 0;
  std::uint64_t first_begin_ns = 0;  // of its first batch; 0 when it was in none
  std::uint64_t last_end_ns = 0;     // of its last batch
  std::uint64_t replied_ns = 0;
  std::uint64_t first_batch = 0;  // 0 when it was in none
  std::uint64_t last_batch = 0;
  std::vector<std::uint64_t> stage_ns;  // one per TraceReport::stages
};

struct TracedBatch {
  std::uint64_t number = 0;
  std::uint32_t service = 0;
  std::uint32_t texts = 0;
  std::uint32_t tokens = 0;
  std::uint32_t clients = 0;
  std::uint64_t begin_ns = 0;
  std::uint64_t gathered_ns = 0;
  std::uint64_t computed_ns = 0;
  std::uint64_t end_ns = 0;
};

struct TracedClient {
  std::uint64_t id = 0;
  std::string name;
};

// The last requests, and the batches they were in.
struct TraceReport {
  std::vector<std::string> stages;
  std::vector<std::string> services;
  std::vector<TracedClient> clients;  // those still connected
  std::vector<TracedRequest> requests;
  std::vector<TracedBatch> batches;
};

// The reports as JSON objects. from_json ignores names it does not know, and answers
// kVersionMismatch when a name is missing or has another type.
Json to_json(const StatusReport& report);
Json to_json(const ModelReport& report);
Json to_json(const sidecar::Option& option);
Json to_json(const TraceReport& report);
base::Result<TraceReport> trace_from_json(const Json& json);
base::Result<StatusReport> status_from_json(const Json& json);
base::Result<std::vector<ModelReport>> models_from_json(const Json& json);
base::Result<std::vector<sidecar::Option>> options_from_json(const Json& json);

// The sidecar's statistics page in this process.
class StatisticsView {
 public:
  // Maps `fd`, a sealed memfd of a page. kVersionMismatch when it is something else.
  static base::Result<StatisticsView> map(const base::Fd& fd);
  StatisticsView(StatisticsView&& other) noexcept : page_(std::exchange(other.page_, {})) {}
  StatisticsView& operator=(StatisticsView&& other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  StatisticsView(const StatisticsView&) = delete;
  StatisticsView& operator=(const StatisticsView&) = delete;
  ~StatisticsView();

  // kUnavailable when its writer has died, or is stopped, in the middle of writing it.
  [[nodiscard]] base::Result<Statistics> read() const;

 private:
  explicit StatisticsView(std::span<const std::byte> page) : page_(page) {}
  std::span<const std::byte> page_;
};

// A connection to a sidecar's control socket. One thread at a time.
class Client {
 public:
  // kUnavailable when nobody listens at `path`, kDenied when this user may not connect. A call
  // that takes longer than `timeout_ms` fails with kDeadlineExceeded.
  static base::Result<Client> connect(const std::string& path, int timeout_ms);

  // Asks and waits for the answer. Errors are the sidecar's own, kSidecarGone when it hangs up, or
  // kVersionMismatch when the answer cannot be understood.
  // With `passed`, takes a descriptor that comes with the answer.
  base::Result<Json> call(std::string_view verb, const Json& arguments, base::Fd* passed = nullptr);

  base::Result<StatusReport> status();
  base::Result<std::vector<ModelReport>> models();
  // All metrics, in Prometheus' text format.
  base::Result<std::string> metrics();
  // The last `last` requests that the sidecar remembers.
  base::Result<TraceReport> trace(std::uint64_t last);
  // The statistics page (statistics.h), mapped read-only; it is written for the next 10 s.
  base::Result<StatisticsView> watch();
  // All options, or the one called `option` when it is not empty.
  base::Result<std::vector<sidecar::Option>> options(std::string_view option);

 private:
  Client(base::Fd fd, int timeout_ms) : fd_(std::move(fd)), timeout_ms_(timeout_ms) {}

  base::Fd fd_;
  int timeout_ms_ = 0;
};

}  // namespace nacelle::control
