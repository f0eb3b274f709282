#include "sidecar/observe.h"

#include <algorithm>

#include "sidecar/trace.h"

namespace nacelle::sidecar {
namespace {

std::uint64_t positive(base::Nanos time) {
  return static_cast<std::uint64_t>(std::max<base::Nanos>(time, 0));
}

std::uint64_t tokens_of(const Slice& slice) {
  const auto& offsets = slice.request->offsets;
  return offsets[slice.first + slice.count] - offsets[slice.first];
}

}  // namespace

void observe_batch(Batch& batch, Counters& counters, ServiceCounters& service) {
  BatchTimes& at = batch.times;
  if (counters.trace != nullptr) at.number = counters.trace->add(batch);
  const std::uint64_t busy = positive(at.end - at.begin);
  const std::uint64_t compute = positive(at.computed - at.gathered);
  counters.busy_ns.add(busy);
  service.compute_ns.add(compute);
  service.batch_compute.record(compute);
  service.batch_texts.record(batch.texts);
  service.batch_tokens.record(batch.tokens);
  const std::uint64_t budget = std::max<std::uint64_t>(counters.batch_tokens_max.get(), 1);
  service.batch_fill.record(batch.tokens * std::uint64_t{100} / budget);

  // Shares by tokens that sum to `busy` exactly: each slice gets up to where its last token stands.
  std::uint64_t tokens = 0;
  std::uint64_t charged = 0;
  for (const Slice& slice : batch.slices) {
    const std::uint64_t mine = tokens_of(slice);
    tokens += mine;
    const auto until = static_cast<std::uint64_t>(
        static_cast<double>(busy) * static_cast<double>(tokens) / std::max(batch.tokens, 1U));
    const std::uint64_t share = std::min(until, busy) - charged;
    charged += share;
    Account& account = *slice.request->client->account;
    account.compute_ns.add(share);
    slice.request->share += static_cast<base::Nanos>(share);
    account.tokens.add(mine);
    StageTimes& times = slice.request->times;
    times.pass(Stage::kBatchWait, at.begin);
    times.pass(Stage::kCopy, at.gathered);
    times.pass(Stage::kCompute, at.computed);
    times.pass(Stage::kCopy, at.end);
    if (times.first_begin == 0) {
      times.first_begin = at.begin;
      times.first_batch = at.number;
    }
    times.last_end = at.end;
    times.last_batch = at.number;
  }
}

void observe_reply(Request& request, const base::Status& status, base::Nanos ended,
                   base::Nanos replied, Counters& counters, ServiceCounters& service) {
  StageTimes& times = request.times;
  // Who never ran waited until he was dropped.
  if (times.of(Stage::kCompute) == 0) times.pass(Stage::kBatchWait, ended);
  times.pass(Stage::kReply, replied);
  Account& account = *request.client->account;
  for (std::size_t i = 0; i < kStages; ++i) {
    const std::uint64_t spent = positive(times.spent[i]);
    service.stages[i].record(spent);
    account.stage_ns[i].add(spent);
  }
  service.ring.record(positive(times.ring));
  service.total.record(positive(replied - times.taken));
  const base::Code code = status ? base::Code::kOk : status.error().code;
  service.ended[static_cast<std::size_t>(code)].add();
  if (counters.trace != nullptr) counters.trace->add(request, code, replied);
  if (status) {
    account.texts.add(request.texts);
  } else {
    account.errors.add();
  }
}

}  // namespace nacelle::sidecar
