#include "sidecar/pipeline.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/cpus.h"
#include "sidecar/base/log.h"
#include "sidecar/base/slices.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

// Tells the client to come back: there may be another sidecar by then.
Error shutting_down() { return {Code::kSidecarGone, "the sidecar is shutting down"}; }

bool given_up(const Request& request) {
  const shm::Connection& connection = *request.client->connection;
  return connection.closed() || connection.cancelled(request.slot, request.generation);
}

SchedulerLimits limits_of(const Config& config, const Services& services) {
  return {.batch_tokens_max = config.scheduler.batch_tokens_max > 0
                                  ? config.scheduler.batch_tokens_max
                                  : services.batch_tokens_max(),
          .max_delay = config.scheduler.max_delay_us * base::kMicrosecond,
          .queue_requests_max = config.scheduler.queue_requests_max,
          .queue_tokens_max = config.scheduler.queue_tokens_max,
          .queue_time_max = config.scheduler.queue_ms_max * base::kMillisecond};
}

std::vector<ServiceLimits> limits_of(const Services& services) {
  std::vector<ServiceLimits> limits;
  for (std::size_t i = 0; i < services.size(); ++i) {
    const ServicePolicy& policy = services.at(i).policy;
    limits.push_back({.name = services.at(i).name,
                      .max_concurrent = policy.max_concurrent,
                      .max_queue_size = policy.max_queue_size,
                      .priority = static_cast<std::uint32_t>(policy.priority),
                      .weight = policy.weight,
                      .latency_target = policy.latency_target_ms * base::kMillisecond});
  }
  return limits;
}

}  // namespace

Pipeline::Pipeline(const Config& config, Services& services)
    : services_(services),
      cache_(config.cache, config.transport.connections_max),
      replier_(services, counters_),
      windows_max_(config.limits.windows_max),
      executor_(services, counters_),
      scheduler_(limits_of(config, services), limits_of(services)),
      gate_(config.admission),
      every_cpu_computes_(config.kernels.threads == 0 ||
                          config.kernels.threads >= base::cpu_budget().usable()) {
  counters_.batch_tokens_max.set(scheduler_.batch_tokens());
  counters_.trace = &trace_;
}

base::Result<std::unique_ptr<Pipeline>> Pipeline::start(const Config& config, Services& services) {
  std::unique_ptr<Pipeline> pipeline(new Pipeline(config, services));
  Pipeline& self = *pipeline;
  if (base::Status good = self.cache_.open(); !good) return good.error();
  self.streamer_.emplace(self.replier_);
  base::Result<std::unique_ptr<Intake>> intake = Intake::open(
      config, services, self.replier_, self.counters_,
      {.full = [&self](const ClientState& client,
                       const LoadedService& service) { return self.full(client, service); },
       .submit = [&self](auto request) { return self.submit(std::move(request)); },
       .stream = [&self](StreamRequest stream) { self.streamer_->add(std::move(stream)); },
       .computing = self.every_cpu_computes_ ? &self.computing_ : nullptr,
       .room = [&self] { self.streamer_->room(); },
       .cache = &self.cache_});
  if (!intake) return intake.error();
  self.intake_ = *std::move(intake);
  self.execute_thread_ = std::thread([&self] { self.execute(); });
  self.intake_thread_ = std::thread([&self] { self.intake_->run(); });
  return pipeline;
}

Pipeline::~Pipeline() { stop(); }

// On intake's thread.
std::optional<Full> Pipeline::full(const ClientState& client, const LoadedService& service) {
  const std::lock_guard lock(mutex_);
  if (auto why = gate_.refuses(service.policy.priority, base::now_ns())) {
    return Full{*std::move(why), gate_.retry_after_us(base::now_ns())};
  }
  auto refusal = scheduler_.refuses(client);
  if (!refusal) return std::nullopt;
  return Full{std::move(refusal->why),
              static_cast<std::uint32_t>(refusal->retry_after / base::kMicrosecond)};
}

// On intake's thread.
Refused Pipeline::submit(std::unique_ptr<Request> request) {
  Refused refused;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return {std::move(request), shutting_down(), 0};
    Refusal refusal = scheduler_.add(std::move(request));
    refused = {std::move(refusal.request), std::move(refusal.why),
               static_cast<std::uint32_t>(refusal.retry_after / base::kMicrosecond)};
  }
  if (!refused.request) work_.notify_one();
  return refused;
}

void Pipeline::observe(const Pressure& pressure) {
  for (const auto& domain : cache_.domains()) {
    domain->maintain(cache_times());
    domain->sync();
  }
  const std::lock_guard lock(mutex_);
  scheduler_.set_batch_tokens(services_.batch_tokens_that_fit(pressure.free_bytes));
  counters_.batch_tokens_max.set(scheduler_.batch_tokens());
  if (!gate_.observe(pressure, base::now_ns())) return;
  base::log_info(gate_.closed() ? "refusing work of low priority" : "taking all work again",
                 {{"seen", gate_.text()}});
}

// The second thread: asks the scheduler what to do and does it, until stop().
void Pipeline::execute() {
  base::take_short_slices(base::kComputeSlice);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    Decision decision = scheduler_.next(base::now_ns(), given_up);
    if (!decision.batch && decision.dropped.empty()) {
      running_ = false;
      idle_.notify_all();
      if (decision.wake_at == base::kNever) {
        work_.wait(lock);
      } else {
        work_.wait_for(lock, std::chrono::nanoseconds(decision.wake_at - base::now_ns()));
      }
      continue;
    }
    running_ = true;
    lock.unlock();
    if (!decision.dropped.empty()) replier_.reply(std::move(decision.dropped));
    if (decision.batch) run_batch(*std::move(decision.batch));
    lock.lock();
  }
  running_ = false;
  idle_.notify_all();
}

void Pipeline::run_batch(Batch batch) {
  const Nanos start = base::now_ns();
  computing_.store(true, std::memory_order_relaxed);
  const base::Status status = executor_.run(batch);
  computing_.store(false, std::memory_order_relaxed);
  const Nanos end = base::now_ns();
  std::vector<Outcome> outcomes;
  {
    const std::lock_guard lock(mutex_);
    outcomes = scheduler_.finished(batch, status, end - start, end, given_up);
  }
  // Before any is answered: then a client may give back the memory that is copied from.
  for (const Outcome& outcome : outcomes) {
    if (outcome.rows_of) copy_rows(*outcome.rows_of, *outcome.request);
  }
  for (const Outcome& outcome : outcomes) {
    const Request& request = *outcome.request;
    if (outcome.status) put_rows(request, services_.at(request.service).policy, cache_times());
  }
  replier_.reply(std::move(outcomes));
}

std::size_t Pipeline::drain(Nanos timeout) {
  const Nanos deadline = base::now_ns() + timeout;
  intake_->drain();
  const std::size_t streams = streamer_->drain(deadline);
  {
    std::unique_lock lock(mutex_);
    idle_.wait_for(lock, std::chrono::nanoseconds(deadline - base::now_ns()),
                   [this] { return !running_ && scheduler_.held_requests() == 0; });
    stopping_ = true;  // submit() refuses from here on: what is queued now is all there will be
  }
  work_.notify_all();
  execute_thread_.join();  // a batch that is on the device is finished and answered
  std::vector<Outcome> late;
  {
    const std::lock_guard lock(mutex_);
    for (auto& request : scheduler_.take_all())
      late.push_back({std::move(request), shutting_down()});
  }
  const std::size_t count = late.size() + streams;
  replier_.reply(std::move(late));
  stop();
  return count;
}

void Pipeline::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  if (execute_thread_.joinable()) execute_thread_.join();
  if (intake_) intake_->stop();
  if (intake_thread_.joinable()) intake_thread_.join();
  streamer_.reset();  // intake hands nothing on any more
}

control::StatusReport Pipeline::report() const {
  control::StatusReport report;
  report.state = intake_->draining() ? "draining" : "serving";
  {
    const std::lock_guard lock(mutex_);
    report.queued_requests = scheduler_.queued_requests();
    report.queued_tokens = scheduler_.queued_tokens();
  }
  report.totals = {.requests = counters_.requests.get(),
                   .texts = counters_.texts.get(),
                   .tokens = counters_.tokens.get(),
                   .batches = counters_.batches.get(),
                   .batches_mixed = counters_.batches_mixed.get(),
                   .batch_texts_max = counters_.batch_texts_max.get(),
                   .busy = counters_.busy.get(),
                   .invalid = counters_.invalid.get(),
                   .expired = counters_.expired.get(),
                   .cancelled = counters_.cancelled.get(),
                   .rescued_by_timeout = counters_.rescued_by_timeout.get()};
  for (std::size_t i = 0; i < counters_.violations.size(); ++i) {
    if (const std::uint64_t count = counters_.violations[i].get(); count > 0) {
      report.violations.push_back({std::string(shm::kViolationNames[i]), count});
    }
  }
  for (std::size_t i = 0; i < counters_.refused_connections.size(); ++i) {
    if (const std::uint64_t count = counters_.refused_connections[i].get(); count > 0) {
      report.refused_connections.push_back(
          {std::string(base::code_name(static_cast<Code>(i))), count});
    }
  }
  for (std::size_t i = 0; i < services_.size(); ++i) {
    const LoadedService& service = services_.at(i);
    const model::Info& info = service.model->info();
    control::ModelReport model;
    model.name = service.name;
    model.directory = service.directory;
    model.architecture = info.architecture;
    if (service.answers(shm::Op::kEmbed)) model.tasks.emplace_back("embed");
    if (service.answers(shm::Op::kClassify)) model.tasks.emplace_back("classify");
    if (service.answers(shm::Op::kRerank)) model.tasks.emplace_back("rerank");
    model.long_input = kLongInputNames[static_cast<std::size_t>(service.long_input) - 1];
    for (const Prompt& prompt : service.prompts) model.prompts.push_back(prompt.name);
    model.windows_max = windows_max_;
    model.digest = info.digest;
    model.tokens_max = info.tokens_max;
    model.embed_width = info.embed_width;
    model.labels = info.labels;
    model.parameters = info.parameters;
    model.memory_bytes = info.memory_bytes;
    model.requests = service.counters.requests.get();
    model.texts = service.counters.texts.get();
    model.tokens = service.counters.tokens.get();
    model.batches = service.counters.batches.get();
    model.errors = service.counters.errors.get();
    report.models.push_back(std::move(model));
  }
  for (const auto& client : intake_->clients()) {
    const shm::Connection& connection = *client->connection;
    report.clients.push_back({.id = connection.id(),
                              .name = connection.name(),
                              .uid = connection.peer().uid,
                              .pid = static_cast<std::uint32_t>(connection.peer().pid),
                              .connected_s = static_cast<std::uint64_t>(
                                  (base::now_ns() - client->connected_at) / base::kSecond),
                              .requests = client->counters.requests.get(),
                              .texts = client->counters.texts.get(),
                              .in_flight = connection.in_flight()});
  }
  return report;
}

}  // namespace nacelle::sidecar
