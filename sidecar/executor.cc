#include "sidecar/executor.h"

#include <algorithm>
#include <new>

#include "sidecar/base/time.h"
#include "sidecar/observe.h"
#include "sidecar/rows.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;

// Calls use(request, window) for windows [first, last) of those in the batch that have tokens, in
// order.
template <typename Use>
void for_each_window(const Batch& batch, std::uint32_t first, std::uint32_t last, Use&& use) {
  std::uint32_t next = 0;
  for (const Slice& slice : batch.slices) {
    for (std::uint32_t window = slice.first; window < slice.first + slice.count; ++window) {
      if (slice.request->tokens(window) == 0) continue;
      if (next >= last) return;
      if (next++ >= first) use(*slice.request, window);
    }
  }
}

// Short enough to need no memory of its own.
Error out_of_memory() { return {Code::kUnavailable, "out of memory"}; }

Error too_large() {
  try {
    return {Code::kTooLarge,
            "no memory is left to compute this text, even alone: send a shorter one, or give the "
            "sidecar more memory"};
  } catch (const std::bad_alloc&) {
    return {Code::kTooLarge, "out of memory"};
  }
}

}  // namespace

void Executor::gather(const Batch& batch, Part part, std::uint32_t width) {
  ids_.clear();
  types_.clear();
  offsets_.assign(1, 0);
  rows_.clear();
  scratch_.resize(std::max(scratch_.size(), std::size_t{part.last - part.first} * width));
  float* scratch = scratch_.data();
  for_each_window(batch, part.first, part.last, [&](Request& request, std::uint32_t window) {
    const auto begin = static_cast<std::ptrdiff_t>(request.offsets[window]);
    const auto end = static_cast<std::ptrdiff_t>(request.offsets[window + 1]);
    ids_.insert(ids_.end(), request.ids.begin() + begin, request.ids.begin() + end);
    types_.insert(types_.end(), request.types.begin() + begin, request.types.begin() + end);
    offsets_.push_back(static_cast<std::uint32_t>(ids_.size()));
    rows_.push_back(request.plan.direct ? reinterpret_cast<float*>(request.row(window)) : scratch);
    scratch += request.plan.direct ? 0 : width;
    // Here, so that finish() needs no memory: what it adds to a sum it could not take back.
    if (!request.first_windows.empty()) request.sum.reserve(width);
  });
}

void Executor::finish(const Batch& batch, Part part, std::uint32_t width) {
  std::size_t next = 0;
  for_each_window(batch, part.first, part.last, [&](Request& request, std::uint32_t window) {
    float* row = rows_[next++];
    if (!request.failed) finish_window(request, window, {row, width});
  });
}

// kUnavailable when memory runs out; nothing of the part is finished then.
base::Status Executor::try_part(Batch& batch, Part part) {
  model::Model& model = *services_.at(batch.service).model;
  const auto width = static_cast<std::uint32_t>(model.info().row_width(batch.task));
  try {
    gather(batch, part, width);
    if (batch.times.gathered == 0) batch.times.gathered = base::now_ns();
    base::Status status = model.run(batch.task, {ids_, types_, offsets_, batch.raw}, rows_);
    batch.times.computed = base::now_ns();
    if (!status) return status;
    finish(batch, part, width);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  texts_ += part.last - part.first;
  tokens_ += static_cast<std::uint32_t>(ids_.size());
  return base::ok();
}

// Halves `part` until it fits. No deeper than the logarithm of its windows.
base::Status Executor::run_part(Batch& batch, Part part) {
  base::Status status = try_part(batch, part);
  if (status || status.error().code != Code::kUnavailable) return status;
  if (part.last - part.first <= 1) {
    for_each_window(batch, part.first, part.last,
                    [](Request& request, std::uint32_t) { request.failed = too_large(); });
    return base::ok();
  }
  const std::uint32_t middle = part.first + (part.last - part.first) / 2;
  status = run_part(batch, {part.first, middle});
  return status ? run_part(batch, {middle, part.last}) : std::move(status);
}

base::Status Executor::run(Batch& batch) {
  batch.times.begin = base::now_ns();
  texts_ = tokens_ = 0;
  base::Status status = run_part(batch, {0, batch.texts});
  batch.times.end = base::now_ns();
  observe_batch(batch, counters_, services_.at(batch.service).counters);
  const base::Nanos compute = batch.times.end - batch.times.begin;
  for (const Slice& slice : batch.slices) {
    Request& request = *slice.request;
    request.compute += compute;
    if (batch.texts >= request.batch_texts) {
      request.batch_texts = batch.texts;
      request.batch_clients = batch.clients;
    }
  }
  if (status) count(batch);
  return status;
}

void Executor::count(const Batch& batch) {
  counters_.batches.add();
  counters_.texts.add(texts_);
  counters_.tokens.add(tokens_);
  counters_.batch_texts_max.raise_to(batch.texts);
  if (batch.clients > 1) counters_.batches_mixed.add();
  ServiceCounters& service = services_.at(batch.service).counters;
  service.batches.add();
  service.texts.add(texts_);
  service.tokens.add(tokens_);
}

}  // namespace nacelle::sidecar
