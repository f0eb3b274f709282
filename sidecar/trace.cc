#include "sidecar/trace.h"

#include <algorithm>

namespace nacelle::sidecar {

std::uint64_t Trace::add(const Batch& batch) {
  const std::uint64_t number = batches_.reserve();
  batches_.write(number, {.number = number,
                          .service = batch.service,
                          .texts = batch.texts,
                          .tokens = batch.tokens,
                          .clients = batch.clients,
                          .begin = batch.times.begin,
                          .gathered = batch.times.gathered,
                          .computed = batch.times.computed,
                          .end = batch.times.end});
  return number;
}

void Trace::add(const Request& request, base::Code code, base::Nanos replied) {
  const std::uint64_t number = requests_.reserve();
  const StageTimes& times = request.times;
  const shm::Connection* connection = request.client->connection.get();
  requests_.write(number, {.number = number,
                           .client = connection != nullptr ? connection->id() : 0,
                           .service = request.service,
                           .slot = request.slot,
                           .texts = request.texts,
                           .tokens = request.offsets.empty() ? 0 : request.offsets.back(),
                           .ring = times.ring,
                           .taken = times.taken,
                           .tokenized = times.tokenized,
                           .first_begin = times.first_begin,
                           .last_end = times.last_end,
                           .replied = replied,
                           .first_batch = times.first_batch,
                           .last_batch = times.last_batch,
                           .spent = times.spent,
                           .code = code});
}

Trace::Copy Trace::copy(std::size_t last) const {
  Copy copy;
  const std::uint64_t newest = requests_.newest();
  const std::uint64_t count = std::min<std::uint64_t>({newest, kRequests, last});
  std::uint64_t first_batch = UINT64_MAX;
  std::uint64_t last_batch = 0;
  for (std::uint64_t number = newest - count + 1; number <= newest; ++number) {
    const auto record = requests_.read(number);
    if (!record) continue;
    copy.requests.push_back(*record);
    if (record->first_batch == 0) continue;
    first_batch = std::min(first_batch, record->first_batch);
    last_batch = std::max(last_batch, record->last_batch);
  }
  if (last_batch == 0) return copy;
  // No more than there are places, however far apart the two ends are.
  if (last_batch - first_batch >= kBatches) first_batch = last_batch - kBatches + 1;
  for (std::uint64_t number = first_batch; number <= last_batch; ++number) {
    if (const auto record = batches_.read(number)) copy.batches.push_back(*record);
  }
  return copy;
}

}  // namespace nacelle::sidecar
