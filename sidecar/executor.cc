#include "sidecar/executor.h"

#include <algorithm>

#include "sidecar/base/time.h"
#include "sidecar/observe.h"
#include "sidecar/rows.h"

namespace nacelle::sidecar {
namespace {

// Calls use(request, window) for every window of the batch that has tokens, in order.
template <typename Use>
void for_each_window(const Batch& batch, Use&& use) {
  for (const Slice& slice : batch.slices) {
    for (std::uint32_t window = slice.first; window < slice.first + slice.count; ++window) {
      if (slice.request->tokens(window) > 0) use(*slice.request, window);
    }
  }
}

}  // namespace

void Executor::gather(const Batch& batch, std::uint32_t width) {
  ids_.clear();
  types_.clear();
  offsets_.assign(1, 0);
  rows_.clear();
  scratch_.resize(std::max(scratch_.size(), std::size_t{batch.texts} * width));
  float* scratch = scratch_.data();
  for_each_window(batch, [&](const Request& request, std::uint32_t window) {
    const auto begin = static_cast<std::ptrdiff_t>(request.offsets[window]);
    const auto end = static_cast<std::ptrdiff_t>(request.offsets[window + 1]);
    ids_.insert(ids_.end(), request.ids.begin() + begin, request.ids.begin() + end);
    types_.insert(types_.end(), request.types.begin() + begin, request.types.begin() + end);
    offsets_.push_back(static_cast<std::uint32_t>(ids_.size()));
    rows_.push_back(request.plan.direct ? reinterpret_cast<float*>(request.row(window)) : scratch);
    scratch += request.plan.direct ? 0 : width;
  });
}

void Executor::finish(const Batch& batch, std::uint32_t width) {
  std::size_t next = 0;
  for_each_window(batch, [&](Request& request, std::uint32_t window) {
    finish_window(request, window, {rows_[next++], width});
  });
}

base::Status Executor::run(Batch& batch) {
  LoadedService& service = services_.at(batch.service);
  const model::Info& info = service.model->info();
  const auto width = static_cast<std::uint32_t>(info.row_width(batch.task));
  batch.times.begin = base::now_ns();
  gather(batch, width);
  batch.times.gathered = base::now_ns();
  const base::Status status =
      service.model->run(batch.task, {ids_, types_, offsets_, batch.raw}, rows_);
  batch.times.computed = base::now_ns();
  if (status) finish(batch, width);
  batch.times.end = base::now_ns();
  observe_batch(batch, counters_, service.counters);
  const base::Nanos compute = batch.times.end - batch.times.begin;
  for (const Slice& slice : batch.slices) {
    Request& request = *slice.request;
    request.compute += compute;
    if (batch.texts >= request.batch_texts) {
      request.batch_texts = batch.texts;
      request.batch_clients = batch.clients;
    }
  }
  if (!status) return status;
  counters_.batches.add();
  counters_.texts.add(batch.texts);
  counters_.tokens.add(batch.tokens);
  counters_.batch_texts_max.raise_to(batch.texts);
  if (batch.clients > 1) counters_.batches_mixed.add();
  service.counters.batches.add();
  service.counters.texts.add(batch.texts);
  service.counters.tokens.add(batch.tokens);
  return status;
}

}  // namespace nacelle::sidecar
