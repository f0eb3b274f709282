// The stages, wired: intake -> scheduler -> executor -> cache, replier, and intake -> streamer ->
// replier.
// The one place that names more than one stage, and the one that knows threads: intake's, and the
// one that schedules and executes.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "sidecar/admission.h"
#include "sidecar/base/result.h"
#include "sidecar/config.h"
#include "sidecar/control/api.h"
#include "sidecar/control/statistics.h"
#include "sidecar/counters.h"
#include "sidecar/executor.h"
#include "sidecar/intake.h"
#include "sidecar/replier.h"
#include "sidecar/result_cache.h"
#include "sidecar/scheduler.h"
#include "sidecar/services.h"
#include "sidecar/streamer.h"
#include "sidecar/trace.h"

namespace nacelle::sidecar {

class Pipeline {
 public:
  // Listens and serves from now on, on threads of its own. `services` outlives the pipeline.
  static base::Result<std::unique_ptr<Pipeline>> start(const Config& config, Services& services);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Refuses what comes from now on, finishes what was taken, then stops. Requests that are still
  // queued after `timeout` are answered with kSidecarGone. Returns how many those were.
  std::size_t drain(base::Nanos timeout);

  // Any thread: how short memory and CPU are now, for what is admitted, and how large batches are,
  // from here on.
  void observe(const Pressure& pressure);

  // Counts, services and clients; the process's own facts are the caller's to add.
  [[nodiscard]] control::StatusReport report() const;
  // Everything that is counted, in Prometheus' text format (pipeline_metrics.cc).
  [[nodiscard]] std::string metrics() const;
  // Whether requests are taken: not while it drains.
  [[nodiscard]] bool serving() const { return !intake_->draining(); }
  [[nodiscard]] std::uint64_t refused_in_drain() const { return intake_->refused_in_drain(); }
  // Fills the statistics page (pipeline_statistics.cc); its intervals are from call to call. For
  // one thread, and no longer than the pipeline lives.
  [[nodiscard]] std::function<void(control::Statistics&)> statistics_source() const;
  // The last requests on their way through the stages.
  [[nodiscard]] control::TraceReport trace(std::uint64_t last) const;

 private:
  Pipeline(const Config& config, Services& services);
  std::optional<Full> full(const ClientState& client, const LoadedService& service);
  Refused submit(std::unique_ptr<Request> request);
  void execute();
  void run_batch(Batch batch);
  void stop();

  Services& services_;
  Trace trace_;
  Counters counters_;
  ResultCache cache_;
  Replier replier_;
  const std::uint32_t windows_max_;  // for report()
  Executor executor_;
  std::optional<Streamer> streamer_;  // until stop()
  std::unique_ptr<Intake> intake_;

  mutable std::mutex mutex_;  // guards everything down to the threads
  std::condition_variable work_;
  std::condition_variable idle_;
  Scheduler scheduler_;
  AdmissionGate gate_;
  const bool every_cpu_computes_;
  std::atomic<bool> computing_{false};
  bool running_ = false;  // a batch is on the device
  bool stopping_ = false;

  std::thread intake_thread_;
  std::thread execute_thread_;
};

}  // namespace nacelle::sidecar
