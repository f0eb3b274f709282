#include "sidecar/executor.h"

#include <algorithm>
#include <cmath>

#include "sidecar/base/time.h"

namespace nacelle::sidecar {

void to_scores(float* row, std::uint32_t width, bool multi_label) {
  if (multi_label) {
    for (std::uint32_t i = 0; i < width; ++i) row[i] = 1.0F / (1.0F + std::exp(-row[i]));
    return;
  }
  const float most = *std::max_element(row, row + width);
  float sum = 0;
  for (std::uint32_t i = 0; i < width; ++i) {
    row[i] = std::exp(row[i] - most);  // at most 1: cannot overflow
    sum += row[i];
  }
  for (std::uint32_t i = 0; i < width; ++i) row[i] /= sum;
}

void Executor::gather(const Batch& batch, std::uint32_t width) {
  ids_.clear();
  types_.clear();
  offsets_.assign(1, 0);
  rows_.clear();
  for (const Slice& slice : batch.slices) {
    const Request& request = *slice.request;
    for (std::uint32_t text = slice.first; text < slice.first + slice.count; ++text) {
      if (request.tokens(text) == 0) continue;
      const auto begin = static_cast<std::ptrdiff_t>(request.offsets[text]);
      const auto end = static_cast<std::ptrdiff_t>(request.offsets[text + 1]);
      ids_.insert(ids_.end(), request.ids.begin() + begin, request.ids.begin() + end);
      types_.insert(types_.end(), request.types.begin() + begin, request.types.begin() + end);
      offsets_.push_back(static_cast<std::uint32_t>(ids_.size()));
      rows_.push_back(request.row(text, width));
    }
  }
}

base::Status Executor::run(Batch& batch) {
  LoadedService& service = services_.at(batch.service);
  const model::Info& info = service.model->info();
  const auto width = static_cast<std::uint32_t>(info.row_width(batch.task));
  const base::Nanos start = base::now_ns();
  gather(batch, width);
  base::Status status = service.model->run(batch.task, {ids_, types_, offsets_}, rows_);
  if (status && batch.task == model::Task::kClassify) {
    for (float* row : rows_) to_scores(row, width, info.multi_label);
  }
  const base::Nanos compute = base::now_ns() - start;
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
