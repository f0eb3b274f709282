// nacelled: reads its config, loads its models, serves until SIGTERM or SIGINT, drains, leaves.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "sidecar/base/cpu_time.h"
#include "sidecar/base/cpus.h"
#include "sidecar/base/log.h"
#include "sidecar/base/memory.h"
#include "sidecar/base/time.h"
#include "sidecar/config.h"
#include "sidecar/control/http.h"
#include "sidecar/control/server.h"
#include "sidecar/metrics_page.h"
#include "sidecar/pipeline.h"
#include "sidecar/services.h"
#include "sidecar/statistics.h"

namespace nacelle {
namespace {

int failed(const base::Error& error) {
  std::fprintf(stderr, "nacelled: %s\n", error.message.c_str());
  return error.code == base::Code::kInvalid || error.code == base::Code::kNotFound ? 2 : 1;
}

// Stop signals are taken with sigtimedwait by the main thread; blocked here, before any thread
// begins.
sigset_t block_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// Waits for a stop signal, and until then tells the pipeline every period how short memory and CPU
// are. The signal's number.
int watch(const sidecar::Config& config, const sigset_t& stop_signals,
          sidecar::Pipeline& pipeline) {
  const std::vector<unsigned> cpus = base::cpus_allowed();
  const timespec period{.tv_sec = config.admission.period_ms / 1000,
                        .tv_nsec = config.admission.period_ms % 1000 * base::kMillisecond};
  base::CpuTimes before = base::cpu_times(base::now_ns(), cpus);
  for (;;) {
    const int signal = sigtimedwait(&stop_signals, nullptr, &period);
    if (signal > 0) return signal;
    if (errno != EAGAIN) continue;  // another signal was handled meanwhile
    base::CpuTimes now = base::cpu_times(base::now_ns(), cpus);
    const base::MemoryUse memory = base::memory_use();
    pipeline.observe({.memory = memory.used,
                      .cpu = base::cpu_share_of_others(before, now),
                      .free_bytes = memory.available});
    before = std::move(now);
  }
}

int serve(const sidecar::LoadedConfig& loaded) {
  const sidecar::Config& config = loaded.config;
  base::set_log_level(config.log.level);
  const base::Nanos start = base::now_ns();
  const sigset_t stop_signals = block_stop_signals();
  const unsigned threads =
      config.kernels.threads > 0 ? config.kernels.threads : base::cpu_budget().usable();

  auto backend = kernels::create_backend(config.kernels.backend, threads);
  if (!backend) return failed(loaded.refuse("kernels.backend", backend.error().message));
  base::log_info("backend ready", {{"backend", (*backend)->description()}});
  auto services = sidecar::Services::load(config, **backend);
  if (!services) return failed(services.error());
  auto pipeline = sidecar::Pipeline::start(config, *services);
  if (!pipeline) return failed(pipeline.error());

  auto statistics = sidecar::StatisticsWriter::start((*pipeline)->statistics_source());
  if (!statistics) return failed(statistics.error());

  const auto status = [&] {
    control::StatusReport report = (*pipeline)->report();
    report.version = sidecar::version();
    report.pid = static_cast<std::uint32_t>(::getpid());
    report.uptime_s = static_cast<std::uint64_t>((base::now_ns() - start) / base::kSecond);
    report.backend = (*backend)->description();
    report.threads = threads;
    report.socket = config.socket;
    report.rss_bytes = base::resident_memory();
    return report;
  };
  auto control = control::Server::start(
      {.path = config.control.socket, .connections_max = config.control.connections_max},
      control::all_verbs({.status = status,
                          .options = loaded.options,
                          .metrics = [&] { return (*pipeline)->metrics(); },
                          .trace = [&](std::uint64_t last) { return (*pipeline)->trace(last); },
                          .watch = [&] { return (*statistics)->watch(); }}));
  if (!control) return failed(control.error());
  std::unique_ptr<control::HttpServer> http;
  if (!config.metrics.listen.empty()) {
    auto started =
        control::HttpServer::start({.listen = config.metrics.listen},
                                   control::all_pages([&] { return (*pipeline)->metrics(); },
                                                      [&] { return (*pipeline)->serving(); }));
    if (!started) return failed(started.error());
    http = *std::move(started);
    base::log_info("metrics over HTTP",
                   {{"listen", config.metrics.listen}, {"port", http->port()}});
  }

  base::log_info("serving", {{"socket", config.socket},
                             {"control", config.control.socket},
                             {"services", services->size()},
                             {"ms", (base::now_ns() - start) / base::kMillisecond}});
  const int signal = watch(config, stop_signals, **pipeline);
  base::log_info("draining", {{"signal", ::strsignal(signal)},
                              {"timeout_ms", config.shutdown.drain_timeout_ms}});
  const std::size_t late =
      (*pipeline)->drain(config.shutdown.drain_timeout_ms * base::kMillisecond);
  base::log_info("stopped", {{"requests", (*pipeline)->report().totals.requests},
                             {"refused_in_drain", (*pipeline)->refused_in_drain()},
                             {"refused_at_the_end", late}});
  return 0;
}

int run(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--print-metrics-markdown") {
    std::fputs(sidecar::metrics_markdown().c_str(), stdout);
    return 0;
  }
  auto loaded = sidecar::load_config(argc, argv, environ);
  if (!loaded) return failed(loaded.error());
  if (loaded->print) {
    std::fputs(loaded->print->c_str(), stdout);
    return 0;
  }
  return serve(*loaded);
}

}  // namespace
}  // namespace nacelle

int main(int argc, char** argv) { return nacelle::run(argc, argv); }
